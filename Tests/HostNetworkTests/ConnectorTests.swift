import CLinux
import Glibc
import LinuxSystem
import SandboxModel
import Testing

@testable import HostNetwork

/// Sockets that the daemon opens inside a slot.
@Suite(.enabled(if: NetworkLab.isPossible, NetworkLab.need), .timeLimit(.minutes(2)))
struct ConnectorTests {
    @Test func theDaemonConnectsFromWithin() async throws {
        try await NetworkLab.with { lab in
            let listener = try await lab.listen(on: NetworkLab.internetAddress, 443)
            let network = try await lab.open()
            let slot = try await network.lease()
            let socket = try await slot.connector.connect(
                to: NetworkLab.internetAddress, port: 443, timeout: .seconds(30))
            let peer = try await lab.accept(listener)
            // The host's address stands for the slot's.
            #expect(IPv4Address(bits: UInt32(bigEndian: peer.sin_addr.s_addr)) == NetworkLab.hostAddress)
            withExtendedLifetime(socket) {}
        }
    }

    @Test func failuresAreTheKernels() async throws {
        try await NetworkLab.with { lab in
            let network = try await lab.open()
            let slot = try await network.lease()
            let refused = await #expect(throws: SystemError.self) {
                try await slot.connector.connect(to: NetworkLab.internetAddress, port: 1, timeout: .seconds(30))
            }
            #expect(refused?.errno == ECONNREFUSED)
            // Nobody has this address; the lab's internet says so after some seconds, this says it sooner.
            let late = await #expect(throws: SystemError.self) {
                try await slot.connector.connect(
                    to: IPv4Address(5, 5, 5, 77), port: 1, timeout: .milliseconds(50))
            }
            #expect(late?.errno == ETIMEDOUT)
        }
    }

    @Test func blockedAddressesAreOutOfTheDaemonsReachToo() async throws {
        try await NetworkLab.with { lab in
            let listeners = [
                try await lab.listen(on: NetworkLab.metadataAddress, 80),
                try await lab.listen(on: NetworkLab.hostAddress, 80, in: lab.host),
            ]
            let network = try await lab.open()
            let slot = try await network.lease()
            let neighbour = try await network.lease()
            for address in [
                NetworkLab.metadataAddress, NetworkLab.hostAddress, neighbour.address, GuestNetwork.gateway,
            ] {
                let error = await #expect(throws: SystemError.self) {
                    try await slot.connector.connect(to: address, port: 80, timeout: .milliseconds(100))
                }
                #expect([EPERM, ETIMEDOUT].contains(error?.errno ?? 0))
            }
            withExtendedLifetime(listeners) {}
        }
    }

    @Test func aVMMInTheNamespaceMaySendNothing() async throws {
        try await NetworkLab.with { lab in
            let listener = try await lab.listen(on: NetworkLab.internetAddress, 80)
            let network = try await lab.open()
            let slot = try await network.lease()
            try await slot.apply(SandboxNetwork(policy: NetworkPolicy(mode: .public))) { _ in }
            let code = try await lab.thread.run(in: slot.namespace, .handOut) {
                let datagram = try InetSocket.datagrams()
                var peer = sockaddr_in()
                peer.sin_family = sa_family_t(AF_INET)
                peer.sin_port = UInt16(9).bigEndian
                peer.sin_addr.s_addr = NetworkLab.internetAddress.bits.bigEndian
                return withUnsafePointer(to: &peer) { pointer in
                    pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                        sendto(datagram.number, "x", 1, 0, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) < 0
                            ? errno : 0
                    }
                }
            }
            #expect(code == EPERM)
            let isConnected = try await lab.thread.run(in: slot.namespace, .handOut) {
                let (socket, isConnected) = try InetSocket.connecting(to: NetworkLab.internetAddress.bits, 80, mark: 0)
                return isConnected || clinux_poll_one(socket.number, Int16(POLLOUT), 100) > 0
            }
            #expect(!isConnected)
            #expect(try await slot.counters().sentPackets == 0)
            withExtendedLifetime(listener) {}
        }
    }

    @Test func manyConnectsWaitTogetherAndEndWithTheirTasks() async throws {
        try await NetworkLab.with { lab in
            let network = try await lab.open()
            let slot = try await network.lease()
            try await withThrowingTaskGroup(of: Bool.self) { group in
                for number in 0..<300 {
                    group.addTask {
                        do {
                            _ = try await slot.connector.connect(
                                to: IPv4Address(5, 5, 5, 100), port: UInt16(1000 + number), timeout: .seconds(60))
                            return false
                        } catch {
                            return error is CancellationError
                        }
                    }
                }
                group.cancelAll()
                for try await isCancelled in group { #expect(isCancelled) }
            }
            #expect(slot.tools.watcher.count == 0)
        }
    }

    @Test func nothingIsOpenedAfterTheSlotIsGivenBack() async throws {
        try await NetworkLab.with { lab in
            let network = try await lab.open()
            let slot = try await network.lease()
            await network.release(slot)
            await #expect(throws: MartletError.self) { try await slot.connector.datagramSocket() }
        }
    }
}
