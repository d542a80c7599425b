import SandboxModel
import Testing

@testable import HostNetwork

@Suite struct LoggedPacketTests {
    private func le(_ value: UInt16) -> [UInt8] { [UInt8(value & 0xFF), UInt8(value >> 8)] }
    private func le(_ value: UInt32) -> [UInt8] { le(UInt16(value & 0xFFFF)) + le(UInt16(value >> 16)) }

    private func attribute(_ type: UInt16, _ value: [UInt8]) -> [UInt8] {
        let padding = [UInt8](repeating: 0, count: (4 - value.count % 4) % 4)
        return le(UInt16(4 + value.count)) + le(type) + value + padding
    }

    /// A message as the kernel writes it.
    private func message(
        rule: String = "blocked-address", ethertype: UInt16 = 0x0800, payload: [UInt8], extra: [UInt8] = []
    ) -> [UInt8] {
        let body =
            [UInt8](repeating: 0, count: 4) + attribute(1, Frame.be(ethertype) + [0, 0]) + extra
            + attribute(10, Array(rule.utf8) + [0]) + attribute(9, payload)
        return le(UInt32(16 + body.count)) + le(UInt16(0x0400)) + [UInt8](repeating: 0, count: 10) + body
    }

    private func parse(_ bytes: [UInt8]) -> [LoggedPacket] { bytes.withUnsafeBytes { LoggedPacket.packets(in: $0) } }

    private let address = IPv4Address(5, 5, 5, 2)

    @Test func headersAreRead() {
        let tcp = Frame.tcp(to: address, 80, sourcePort: 9).payload
        #expect(
            parse(message(payload: tcp)) == [
                LoggedPacket(rule: "blocked-address", transport: "tcp", address: address, port: 80)
            ])
        let udp = Frame.udp(to: address, 53, sourcePort: 9).payload
        #expect(parse(message(payload: udp)).first?.port == 53)
        let ping = Frame.ping(to: address).payload
        #expect(
            parse(message(payload: ping)) == [
                LoggedPacket(rule: "blocked-address", transport: "icmp", address: address)
            ])
        let arp = Frame.arp(operation: 1, claiming: IPv4Address(1, 2, 3, 4), about: address).payload
        #expect(parse(message(ethertype: 0x0806, payload: arp)).first?.address == IPv4Address(1, 2, 3, 4))
        #expect(parse(message(ethertype: 0x86DD, payload: [0x60])).first?.transport == "ipv6")
        #expect(parse(message(ethertype: 0x88CC, payload: [])).first?.transport == "0x88cc")
    }

    @Test func aTagSaysThatItIsOne() {
        let udp = Frame.udp(to: address, 53, sourcePort: 9).payload
        #expect(
            parse(message(payload: udp, extra: attribute(20, [0, 0, 0, 0]))) == [
                LoggedPacket(rule: "blocked-address", transport: "vlan")
            ])
    }

    @Test func whatIsShortLeavesOutWhatItWouldSay() {
        let tcp = Frame.tcp(to: address, 80, sourcePort: 9).payload
        #expect(parse(message(payload: Array(tcp.prefix(22)))).first?.port == nil)
        #expect(parse(message(payload: Array(tcp.prefix(19)))).first?.address == nil)
        // A later fragment has no ports, whatever its bytes look like.
        var fragment = tcp
        fragment[7] = 4
        #expect(parse(message(payload: fragment)).first?.port == nil)
        // Nor has a header that says it is shorter than a header can be.
        var odd = tcp
        odd[0] = 0x44
        #expect(parse(message(payload: odd)).first?.port == nil)
    }

    @Test func severalMessagesAreToldApart() {
        let one = message(rule: "a", payload: []), two = message(rule: "b", payload: [])
        #expect(parse(one + two).map(\.rule) == ["a", "b"])
        #expect(parse(one + two.dropLast(1)).map(\.rule) == ["a"])
        #expect(parse(Array(one.prefix(15))).isEmpty && parse([]).isEmpty)
    }

    @Test func noBytesDoHarm() {
        var generator = SeededGenerator(seed: 11)
        let whole = message(payload: Frame.tcp(to: address, 80, sourcePort: 9).payload)
        for round in 0..<50_000 {
            var bytes = round % 4 == 0 ? [] : whole + whole
            if bytes.isEmpty {
                for _ in 0..<Int.random(in: 0...128, using: &generator) {
                    bytes.append(UInt8.random(in: 0...255, using: &generator))
                }
            }
            for _ in 0..<Int.random(in: 0...8, using: &generator) where !bytes.isEmpty {
                bytes[Int.random(in: 0..<bytes.count, using: &generator)] = UInt8.random(in: 0...255, using: &generator)
            }
            bytes = Array(bytes.prefix(Int.random(in: 0...bytes.count, using: &generator)))
            for packet in parse(bytes) {
                #expect(!packet.rule.isEmpty && packet.rule.utf8.count <= 64 * 3)
            }
        }
    }
}
