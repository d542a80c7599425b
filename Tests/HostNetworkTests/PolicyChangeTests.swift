import CLinux
import Glibc
import LinuxSystem
import SandboxModel
import Testing

@testable import HostNetwork

/// Policies in force on packets, and their replacement.
@Suite(.enabled(if: NetworkLab.isPossible, NetworkLab.need), .timeLimit(.minutes(2)))
struct PolicyChangeTests {
    private func policy(
        _ mode: NetworkPolicy.Mode, allow: [String] = [], deny: [String] = [], rate: Int? = nil, connections: Int? = nil
    ) throws -> SandboxNetwork {
        SandboxNetwork(
            policy: NetworkPolicy(
                mode: mode, allow: try allow.map { try #require(NetworkRule($0)) },
                deny: try deny.map { try #require(NetworkRule($0)) }, rateMbps: rate, maxConnections: connections))
    }

    @Test func addressesAndPortsAreToldApart() async throws {
        try await NetworkLab.with { lab in
            let listeners = [
                try await lab.listen(on: NetworkLab.internetAddress, 80),
                try await lab.listen(on: NetworkLab.internetAddress, 81),
                try await lab.listen(on: NetworkLab.otherAddress, 443),
                try await lab.listen(on: NetworkLab.otherAddress, 8443),
            ]
            let network = try await lab.open()
            let slot = try await network.lease()
            let guest = try await TapGuest(slot, lab)
            let denials = Denials()
            try await slot.apply(
                try policy(.allowlist, allow: ["5.5.5.0/24:80,8000-8100", "6.0.0.0/8:443", "6.6.6.6:443,444"]),
                onDenial: denials.tell)
            #expect(try await guest.connect(to: NetworkLab.internetAddress, 80)?.isAccepted == true)
            #expect(try await guest.connect(to: NetworkLab.otherAddress, 443)?.isAccepted == true)
            #expect(try await guest.connect(to: NetworkLab.internetAddress, 81)?.isReset == true)
            #expect(await denials.next("address-not-allowed")?.port == 81)
            #expect(try await guest.connect(to: NetworkLab.otherAddress, 8443)?.isReset == true)
            #expect(await denials.next("address-not-allowed")?.port == 8443)
            // A rule with ports is about TCP and UDP.
            try guest.send(.ping(to: NetworkLab.otherAddress))
            #expect(await denials.next("address-not-allowed")?.transport == "icmp")
            try await slot.apply(
                try policy(.public, deny: ["5.5.5.2:80", "6.6.6.0/24"]), onDenial: denials.tell)
            #expect(try await guest.connect(to: NetworkLab.internetAddress, 81)?.isAccepted == true)
            #expect(try await guest.connect(to: NetworkLab.internetAddress, 80)?.isReset == true)
            #expect(await denials.next("address-denied")?.address == "5.5.5.2")
            try guest.send(.ping(to: NetworkLab.otherAddress))
            #expect(await denials.next("address-denied")?.transport == "icmp")
            withExtendedLifetime(listeners) {}
        }
    }

    @Test func whatTheOperatorOpensIsReached() async throws {
        try await NetworkLab.with { lab in
            let listeners = [
                try await lab.listen(on: NetworkLab.privateAddress, 443),
                try await lab.listen(on: NetworkLab.privateAddress, 444),
                try await lab.listen(on: NetworkLab.hostAddress, 8080, in: lab.host),
            ]
            var configuration = lab.configuration
            configuration.opened = try ["10.9.9.0/24:443", "5.5.5.1:8080"].map { try #require(NetworkRule($0)) }
            let network = try await lab.open(configuration)
            let slot = try await network.lease()
            let guest = try await TapGuest(slot, lab)
            let denials = Denials()
            try await slot.apply(try policy(.public), onDenial: denials.tell)
            #expect(try await guest.connect(to: NetworkLab.privateAddress, 443)?.isAccepted == true)
            #expect(try await guest.connect(to: NetworkLab.hostAddress, 8080)?.isAccepted == true)
            #expect(try await guest.connect(to: NetworkLab.privateAddress, 444)?.isReset == true)
            #expect(await denials.next("blocked-address")?.port == 444)
            // An allowlist has to list them all the same.
            try await slot.apply(try policy(.allowlist, allow: ["5.5.5.1"]), onDenial: denials.tell)
            #expect(try await guest.connect(to: NetworkLab.privateAddress, 443)?.isReset == true)
            #expect(await denials.next("address-not-allowed")?.address == "10.9.9.9")
            #expect(try await guest.connect(to: NetworkLab.hostAddress, 8080)?.isAccepted == true)
            withExtendedLifetime(listeners) {}
        }
    }

    @Test func aNewPolicyCutsALiveConnection() async throws {
        try await NetworkLab.with { lab in
            let listener = try await lab.listen(on: NetworkLab.internetAddress, 80)
            let server = try await lab.datagrams(on: NetworkLab.internetAddress, 7)
            let network = try await lab.open()
            let slot = try await network.lease()
            let guest = try await TapGuest(slot, lab)
            let denials = Denials()
            try await slot.apply(try policy(.public), onDenial: denials.tell)

            let port = guest.port()
            let accepted = try #require(try await guest.connect(to: NetworkLab.internetAddress, 80, sourcePort: port))
            func data(_ sequence: UInt32) throws {
                try guest.send(
                    .tcp(
                        to: NetworkLab.internetAddress, 80, sourcePort: port, flags: [.ack, .psh], sequence: sequence,
                        acknowledgement: accepted.sequence &+ 1, [1, 2, 3, 4]))
            }
            try data(1001)
            let answer = try await guest.receive { $0.number == 6 && $0.port == port }
            #expect(answer?.flags == 16)
            let flow = guest.port()
            try guest.send(.udp(to: NetworkLab.internetAddress, 7, sourcePort: flow))
            let client = try await lab.peer(of: server)

            try await slot.apply(try policy(.allowlist, allow: ["6.6.6.6"]), onDenial: denials.tell)
            try data(1005)
            #expect(try await guest.receive { $0.number == 6 && $0.port == port }?.isReset == true)
            let denial = try #require(await denials.next("address-not-allowed"))
            #expect(denial.address == "5.5.5.2" && denial.port == 80 && denial.transport == "tcp")
            // Answers of a flow that is not allowed any more do not come in either, though the guest says nothing.
            try await lab.send(server, to: client, [9, 9])
            // What comes behind it, on a way that is open again, shows that it did not.
            try await slot.apply(try policy(.public), onDenial: denials.tell)
            try await lab.send(server, to: client, [8, 8])
            #expect(try await guest.receive { $0.number == 17 && $0.port == flow }?.data == [8, 8])
            withExtendedLifetime(listener) {}
        }
    }

    @Test func thePolicyOfAnOffNetworkIsClosedAgain() async throws {
        try await NetworkLab.with { lab in
            let listener = try await lab.listen(on: NetworkLab.internetAddress, 80)
            let network = try await lab.open()
            let slot = try await network.lease()
            let guest = try await TapGuest(slot, lab)
            let denials = Denials()
            for _ in 0..<3 {
                try await slot.apply(try policy(.public), onDenial: denials.tell)
                #expect(try await guest.connect(to: NetworkLab.internetAddress, 80)?.isAccepted == true)
                try await slot.apply(.closed, onDenial: denials.tell)
                #expect(try await guest.connect(to: NetworkLab.internetAddress, 80)?.isReset == true)
            }
            withExtendedLifetime(listener) {}
        }
    }

    @Test func connectionsAreCounted() async throws {
        try await NetworkLab.with { lab in
            let listener = try await lab.listen(on: NetworkLab.internetAddress, 80)
            let network = try await lab.open()
            let slot = try await network.lease()
            let guest = try await TapGuest(slot, lab)
            let denials = Denials()
            try await slot.apply(try policy(.public, connections: 3), onDenial: denials.tell)
            for _ in 0..<3 { #expect(try await guest.connect(to: NetworkLab.internetAddress, 80)?.isAccepted == true) }
            #expect(try await guest.connect(to: NetworkLab.internetAddress, 80)?.isReset == true)
            #expect(await denials.next("connection-limit")?.port == 80)
            // UDP counts as well, and another policy with the same bound does not forget.
            try await slot.apply(try policy(.public, deny: ["6.6.6.6"], connections: 3), onDenial: denials.tell)
            try guest.send(.udp(to: NetworkLab.internetAddress, 9, sourcePort: guest.port()))
            #expect(await denials.next("connection-limit")?.transport == "udp")
            try await slot.apply(try policy(.public, connections: 10), onDenial: denials.tell)
            #expect(try await guest.connect(to: NetworkLab.internetAddress, 80)?.isAccepted == true)
            withExtendedLifetime(listener) {}
        }
    }

    @Test func aRateIsInForceBothWays() async throws {
        try await NetworkLab.with { lab in
            let network = try await lab.open()
            let slot = try await network.lease()
            func rates() async throws -> [UInt64?] {
                try await lab.thread.run(in: slot.namespace, .handOut) {
                    let links = try NetworkLinks()
                    return try ["up0", "tap0"].map { try links.rate(of: try links.index(of: $0)) }
                }
            }
            #expect(try await rates() == [nil, nil])
            try await slot.apply(try policy(.public, rate: 8)) { _ in }
            #expect(try await rates() == [1_000_000, 1_000_000])
            try await slot.apply(try policy(.public, rate: 100_000)) { _ in }
            #expect(try await rates() == [12_500_000_000, 12_500_000_000])
            try await slot.apply(try policy(.public)) { _ in }
            #expect(try await rates() == [nil, nil])
        }
    }
}
