import LinuxSystem
import SandboxModel
import Testing

@testable import HostNetwork

@Suite(.enabled(if: NetworkLab.isPossible, NetworkLab.need), .timeLimit(.minutes(2)))
struct NetworkSlotTests {
    @Test func aFreshSlotIsClosed() async throws {
        try await NetworkLab.with { lab in
            let listener = try await lab.listen(on: NetworkLab.internetAddress, 80)
            let network = try await lab.open()
            let slot = try await network.lease()
            let guest = try await TapGuest(slot, lab)
            let denials = Denials()
            try await slot.apply(.closed, onDenial: denials.tell)
            #expect(try await guest.connect(to: NetworkLab.internetAddress, 80)?.isReset == true)
            let denial = try #require(await denials.next("network-off"))
            #expect(denial.address == "5.5.5.2" && denial.port == 80 && denial.transport == "tcp")
            #expect(denial.kind == .connection && denial.count == 1)
            // Look-ups are no exception.
            try guest.send(.udp(to: GuestNetwork.gateway, 53, sourcePort: guest.port()))
            #expect(try await guest.receive { $0.isUnreachable } != nil)
            withExtendedLifetime(listener) {}
            await network.release(slot)
        }
    }

    @Test func aPublicPolicyReachesTheInternetAndNothingElse() async throws {
        try await NetworkLab.with { lab in
            let listener = try await lab.listen(on: NetworkLab.internetAddress, 80)
            let other = try await lab.listen(on: NetworkLab.otherAddress, 8080)
            let metadata = try await lab.listen(on: NetworkLab.metadataAddress, 80)
            let ownHost = try await lab.listen(on: NetworkLab.hostAddress, 80, in: lab.host)
            let network = try await lab.open()
            let slot = try await network.lease()
            let neighbour = try await network.lease()
            let guest = try await TapGuest(slot, lab)
            let denials = Denials()
            try await slot.apply(SandboxNetwork(policy: NetworkPolicy(mode: .public)), onDenial: denials.tell)
            #expect(try await guest.connect(to: NetworkLab.internetAddress, 80)?.isAccepted == true)
            #expect(try await guest.connect(to: NetworkLab.otherAddress, 8080)?.isAccepted == true)
            try guest.send(.ping(to: NetworkLab.internetAddress))
            #expect(try await guest.receive { $0.number == 1 && $0.type == 0 } != nil)
            for address in [
                NetworkLab.metadataAddress, NetworkLab.privateAddress, NetworkLab.hostAddress, neighbour.address,
                slot.address, GuestNetwork.gateway, IPv4Address(bits: slot.address.bits - 1), IPv4Address(127, 0, 0, 1),
            ] {
                try guest.send(.tcp(to: address, 80, sourcePort: guest.port()))
                let denial = try #require(await denials.next("blocked-address"))
                #expect(denial.address == address.description && denial.port == 80)
            }
            let counters = try await slot.counters()
            #expect(counters.sentPackets >= 3 && counters.receivedPackets >= 3 && counters.denied >= 8)
            withExtendedLifetime([listener, other, metadata, ownHost]) {}
            for slot in [slot, neighbour] { await network.release(slot) }
            #expect(await network.report().used == 0)
        }
    }
}
