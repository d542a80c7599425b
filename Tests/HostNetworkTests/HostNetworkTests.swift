import CLinux
import Glibc
import LinuxSystem
import Logging
import SandboxModel
import ServiceLifecycle
import Testing

@testable import HostNetwork

@Suite(.enabled(if: NetworkLab.isPossible, NetworkLab.need), .timeLimit(.minutes(5)))
struct HostNetworkTests {
    private func slotLinks(_ lab: NetworkLab) async throws -> [String] {
        try await lab.links().filter { $0.hasPrefix("mt") }.sorted()
    }

    @Test func eachSlotHasAnAddressOfItsOwn() async throws {
        try await NetworkLab.with { lab in
            let network = try await lab.open()
            let first = try await network.lease()
            let second = try await network.lease()
            #expect(first.address.description == "10.201.0.2" && second.address.description == "10.201.0.6")
            #expect(!NetworkNamespace.areSame(first.namespace, second.namespace))
            #expect(!NetworkNamespace.areSame(first.namespace, lab.host))
            #expect(try await slotLinks(lab) == ["mt201-0", "mt201-1"])
            let report = await network.report()
            #expect(report.used == 2 && report.capacity == 16_384 && report.subnet.description == "10.201.0.0/16")
            await network.release(first)
            await network.release(first)
            #expect(try await slotLinks(lab) == ["mt201-1"])
            await #expect(throws: MartletError.self) { try await first.openTap() }
            await #expect(throws: MartletError.self) { try await first.apply(.closed) { _ in } }
            // An address rests as long as it can.
            #expect(try await network.lease().index == 2)
        }
    }

    @Test func aSmallSubnetRunsOutAndRecovers() async throws {
        try await NetworkLab.with { lab in
            var configuration = lab.configuration
            configuration.subnet = IPv4Prefix("172.20.8.0/29")
            let network = try await lab.open(configuration)
            let slots = [try await network.lease(), try await network.lease()]
            #expect(slots.map(\.address.description) == ["172.20.8.2", "172.20.8.6"])
            let refusal = await #expect(throws: MartletError.self) { try await network.lease() }
            #expect(refusal?.code == .resourceExhausted)
            await network.release(slots[0])
            #expect(try await network.lease().address.description == "172.20.8.2")
        }
    }

    @Test(arguments: ["10.0.0.0/8", "10.200.0.0/15", "10.201.0.0/31"])
    func aSubnetOfAnotherSizeIsRefused(text: String) async throws {
        try await NetworkLab.with { lab in
            var configuration = lab.configuration
            configuration.subnet = IPv4Prefix(text)
            let error = await #expect(throws: MartletError.self) { try await lab.open(configuration) }
            #expect(error?.code == .invalidArgument)
        }
    }

    @Test func aSubnetInUseIsLeftAlone() async throws {
        try await NetworkLab.with { lab in
            try await lab.thread.run(in: lab.host, .handOut) {
                let links = try NetworkLinks()
                let wan = try links.index(of: "wan0")
                try links.addAddress(IPv4Address(10, 201, 7, 7).bits, prefixLength: 24, to: wan)
            }
            let network = try await lab.open()
            #expect(await network.report().subnet.description == "10.202.0.0/16")
            var configuration = lab.configuration
            configuration.subnet = IPv4Prefix("10.201.0.0/16")
            let error = await #expect(throws: MartletError.self) { try await lab.open(configuration) }
            #expect(error?.code == .failedPrecondition && error?.message.contains("wan0") == true)
        }
    }

    @Test func daemonsTakeASubnetEachAndTheSameOneAgain() async throws {
        try await NetworkLab.with { lab in
            var second = lab.configuration
            second.directory += "-2"
            func both() async throws -> HostNetwork {
                let one = try await lab.open()
                let two = try await lab.open(second)
                #expect(await one.report().subnet.description == "10.201.0.0/16")
                #expect(await two.report().subnet.description == "10.202.0.0/16")
                return two
            }
            let two = try await both()
            // The first is free again, but the second's next daemon keeps what it had.
            let third = try await lab.open()
            #expect(await third.report().subnet.description == "10.201.0.0/16")
            #expect(await two.report().subnet.description == "10.202.0.0/16")
            unlink(second.directory + "/subnet")
            rmdir(second.directory)
        }
    }

    @Test func slotsAreKeptReadyAndRemovedAtTheEnd() async throws {
        try await NetworkLab.with { lab in
            var configuration = lab.configuration
            configuration.pooledSlots = 5
            let network = try await lab.open(configuration)
            try await withThrowingTaskGroup(of: Void.self) { group in
                let logger = Logger(label: "lab") { _ in SwiftLogNoOpLogHandler() }
                let service = ServiceGroup(
                    configuration: .init(services: [.init(service: network)], logger: logger))
                group.addTask { try await service.run() }
                while await network.report().ready < 5 { await Task.yield() }
                let slot = try await network.lease()
                while await network.report().ready < 5 { await Task.yield() }
                #expect(try await slotLinks(lab).count == 6)
                await network.release(slot)
                await service.triggerGracefulShutdown()
                try await group.waitForAll()
            }
            #expect(try await slotLinks(lab).isEmpty)
            #expect(try await lab.tables() == [])
        }
    }

    @Test func aThousandSlotsLeaveNothing() async throws {
        try await NetworkLab.with { lab in
            let network = try await lab.open()
            let namespaces = try await makeAndRelease(1000, network, lab)
            #expect(try await slotLinks(lab).isEmpty)
            #expect(namespaces.allSatisfy { $0.slot == nil })
            #expect(await network.report().used == 0)
        }
    }

    private func makeAndRelease(
        _ count: Int, _ network: HostNetwork, _ lab: NetworkLab
    ) async throws -> [WeakSlot] {
        let begin = clinux_monotonic_ns()
        var slots: [NetworkSlot] = []
        for _ in 0..<count { slots.append(try await network.lease()) }
        let made = clinux_monotonic_ns()
        #expect(try await slotLinks(lab).count == count)
        #expect(Set(slots.map(\.address)).count == count)
        await withDiscardingTaskGroup { group in
            for slot in slots { group.addTask { await network.release(slot) } }
        }
        let end = clinux_monotonic_ns()
        print("\(count) slots: made in \((made - begin) / 1_000_000) ms, removed in \((end - made) / 1_000_000) ms")
        return slots.map { WeakSlot($0) }
    }
}

/// Sees whether a slot, and with it the namespace it owns, is gone.
private final class WeakSlot {
    weak var slot: NetworkSlot?
    init(_ slot: NetworkSlot) { self.slot = slot }
}
