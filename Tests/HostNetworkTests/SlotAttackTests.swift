import LinuxSystem
import SandboxModel
import Testing

@testable import HostNetwork

/// What a guest with full power over its machine may write onto its card.
@Suite(.enabled(if: NetworkLab.isPossible, NetworkLab.need), .timeLimit(.minutes(2)))
struct SlotAttackTests {
    private static let stranger = HardwareAddress(0x02, 0xBA, 0xD0, 0, 0, 1)

    private struct Attack: Sendable, CustomTestStringConvertible {
        var name: String
        var rule: String
        var transport: String
        var frame: @Sendable (UInt16) -> [UInt8]
        var testDescription: String { name }
    }

    private static let target = NetworkLab.internetAddress

    private static func attack(
        _ name: String, _ rule: String, _ transport: String, _ frame: @escaping @Sendable (UInt16) -> Frame
    ) -> Attack {
        Attack(name: name, rule: rule, transport: transport) { frame($0).bytes }
    }

    /// A frame with a VLAN tag (IEEE 802.1Q) in front of what it carries.
    private static func tagged(_ frame: Frame, _ tag: UInt16, _ ethertype: UInt16 = 0x8100) -> Frame {
        var tagged = frame
        tagged.ethertype = ethertype
        tagged.payload = Frame.be(tag) + Frame.be(frame.ethertype) + frame.payload
        return tagged
    }

    private static let attacks: [Attack] = [
        attack("another hardware address", "spoofed-mac", "udp") { port in
            var frame = Frame.udp(to: target, 9, sourcePort: port)
            frame.source = stranger
            return frame
        },
        attack("another hardware address in ARP", "spoofed-mac", "arp") { _ in
            var frame = Frame.arp(operation: 1, claiming: GuestNetwork.address, about: GuestNetwork.gateway)
            frame.source = stranger
            return frame
        },
        attack("a neighbour's address", "spoofed-address", "udp") {
            .udp(to: target, 9, from: IPv4Address(192, 0, 0, 3), sourcePort: $0)
        },
        attack("another slot's address", "spoofed-address", "tcp") {
            .tcp(to: target, 9, from: IPv4Address(10, 201, 0, 6), sourcePort: $0)
        },
        attack("the gateway's address", "spoofed-address", "tcp") {
            .tcp(to: target, 9, from: GuestNetwork.gateway, sourcePort: $0)
        },
        attack("no address yet, as DHCP has it", "spoofed-address", "udp") {
            .udp(to: IPv4Address(255, 255, 255, 255), 67, from: IPv4Address(bits: 0), sourcePort: $0)
        },
        attack("ARP for the gateway's address", "spoofed-arp", "arp") { _ in
            .arp(operation: 2, claiming: GuestNetwork.gateway, about: GuestNetwork.address)
        },
        attack("ARP that announces another address", "spoofed-arp", "arp") { _ in
            .arp(operation: 1, claiming: IPv4Address(192, 0, 0, 3), about: IPv4Address(192, 0, 0, 3))
        },
        attack("ARP with another sender inside", "spoofed-arp", "arp") { _ in
            var frame = Frame.arp(operation: 2, claiming: GuestNetwork.address, about: GuestNetwork.gateway)
            frame.payload.replaceSubrange(8..<14, with: stranger.bytes)
            return frame
        },
        attack("IPv6", "ipv6", "ipv6") { _ in
            Frame(ethertype: 0x86DD, payload: [0x60, 0, 0, 0, 0, 0, 59, 64] + [UInt8](repeating: 1, count: 32))
        },
        attack("a VLAN", "other-ethertype", "vlan") { tagged(.udp(to: target, 9, sourcePort: $0), 5) },
        attack("VLAN 0, which only has a priority", "other-ethertype", "vlan") {
            tagged(.udp(to: target, 9, sourcePort: $0), 0)
        },
        attack("a VLAN in a VLAN", "other-ethertype", "vlan") {
            tagged(tagged(.udp(to: target, 9, sourcePort: $0), 5), 6, 0x88A8)
        },
        attack("LLDP", "other-ethertype", "0x88cc") { _ in Frame(ethertype: 0x88CC, payload: [2, 7, 4, 1, 1, 1]) },
        attack("PPPoE", "other-ethertype", "0x8863") { _ in Frame(ethertype: 0x8863, payload: [0x11, 9, 0, 0, 0, 0]) },
        attack("TCP in the middle of no connection", "invalid-packet", "tcp") {
            .tcp(to: target, 80, sourcePort: $0, flags: [.ack, .psh], acknowledgement: 7, [1, 2, 3])
        },
        attack("TCP with all flags", "invalid-packet", "tcp") {
            .tcp(to: target, 80, sourcePort: $0, flags: [.syn, .fin, .psh, .ack])
        },
        attack("GRE", "protocol-not-allowed", "47") { _ in .ipv4(47, to: target, [0, 0, 8, 0, 0x45, 0, 0, 0]) },
        attack("ESP", "protocol-not-allowed", "50") { _ in .ipv4(50, to: target, [UInt8](repeating: 3, count: 24)) },
        attack("SCTP that begins with nothing", "invalid-packet", "132") { _ in
            .ipv4(132, to: target, Frame.be(UInt16(1)) + Frame.be(UInt16(80)) + [UInt8](repeating: 0, count: 28))
        },
        attack("IPv4 in IPv4", "protocol-not-allowed", "4") { _ in
            .ipv4(4, to: target, Frame.udp(to: target, 9, sourcePort: 1).payload)
        },
        attack("IPv6 in IPv4", "protocol-not-allowed", "41") { _ in
            .ipv4(41, to: target, [0x60, 0, 0, 0, 0, 0, 59, 64] + [UInt8](repeating: 1, count: 32))
        },
        attack("the metadata service", "blocked-address", "tcp") {
            .tcp(to: NetworkLab.metadataAddress, 80, sourcePort: $0)
        },
        attack("a private address by UDP", "blocked-address", "udp") {
            .udp(to: NetworkLab.privateAddress, 80, sourcePort: $0)
        },
        attack("a private address by ICMP", "blocked-address", "icmp") { _ in .ping(to: NetworkLab.privateAddress) },
        attack("the host", "blocked-address", "tcp") { .tcp(to: NetworkLab.hostAddress, 22, sourcePort: $0) },
        attack("the host's end of the link", "blocked-address", "tcp") {
            .tcp(to: IPv4Address(10, 201, 0, 1), 22, sourcePort: $0)
        },
        attack("another slot", "blocked-address", "tcp") { .tcp(to: IPv4Address(10, 201, 0, 6), 22, sourcePort: $0) },
        attack("the proxy itself", "blocked-address", "tcp") {
            .tcp(to: GuestNetwork.gateway, SlotRules.proxyPort, sourcePort: $0)
        },
        attack("the gateway by ICMP", "blocked-address", "icmp") { _ in .ping(to: GuestNetwork.gateway) },
        attack("itself", "blocked-address", "tcp") { .tcp(to: GuestNetwork.address, 22, sourcePort: $0) },
        attack("loopback", "blocked-address", "tcp") { .tcp(to: IPv4Address(127, 0, 0, 1), 22, sourcePort: $0) },
        attack("multicast", "blocked-address", "udp") { .udp(to: IPv4Address(224, 0, 0, 251), 5353, sourcePort: $0) },
        attack("broadcast", "blocked-address", "udp") {
            .udp(to: IPv4Address(255, 255, 255, 255), 9, sourcePort: $0)
        },
        attack("the broadcast address of the link", "blocked-address", "udp") {
            .udp(to: IPv4Address(192, 0, 0, 3), 9, sourcePort: $0)
        },
    ]

    @Test(arguments: attacks) private func isRefusedAndTold(_ attack: Attack) async throws {
        try await NetworkLab.with { lab in
            let network = try await lab.open()
            let slot = try await network.lease()
            let neighbour = try await network.lease()
            let guest = try await TapGuest(slot, lab)
            let denials = Denials()
            try await slot.apply(SandboxNetwork(policy: NetworkPolicy(mode: .public)), onDenial: denials.tell)
            let before = try await slot.counters()
            try guest.send(raw: attack.frame(guest.port()))
            let denial = try #require(await denials.next(attack.rule))
            #expect(denial.transport == attack.transport && denial.count == 1)
            let after = try await slot.counters()
            #expect(after.sentPackets == before.sentPackets && after.denied == before.denied + 1)
            for slot in [slot, neighbour] { await network.release(slot) }
        }
    }

    /// What is too short or too odd to be told apart must neither pass nor do harm.
    @Test func rubbishLeavesNothingBehind() async throws {
        try await NetworkLab.with { lab in
            let network = try await lab.open()
            let slot = try await network.lease()
            let guest = try await TapGuest(slot, lab)
            try await slot.apply(SandboxNetwork(policy: NetworkPolicy(mode: .public))) { _ in }
            let before = try await slot.counters()
            var generator = SeededGenerator(seed: 4)
            for _ in 0..<5000 {
                var bytes = Frame.tcp(to: NetworkLab.internetAddress, 80, sourcePort: guest.port()).bytes
                // Any byte behind the hardware addresses, and any length that is still a frame.
                for _ in 0..<Int.random(in: 1...6, using: &generator) {
                    bytes[Int.random(in: 12..<bytes.count, using: &generator)] = UInt8.random(
                        in: 0...255, using: &generator)
                }
                try? guest.send(raw: Array(bytes.prefix(Int.random(in: 14...bytes.count, using: &generator))))
            }
            // Whatever of it went out went to no blocked address: the host's rules count what the slot's have missed.
            #expect(try await slot.counters().denied > before.denied)
            let listener = try await lab.listen(on: NetworkLab.internetAddress, 80)
            #expect(try await guest.connect(to: NetworkLab.internetAddress, 80)?.isAccepted == true)
            withExtendedLifetime(listener) {}
        }
    }
}

/// A generator that gives the same numbers each time (SplitMix64, Steele and others 2014).
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
        return z ^ z >> 31
    }
}
