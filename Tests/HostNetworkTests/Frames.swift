import LinuxSystem
import SandboxModel

/// Ethernet frames as a guest's card sends them; honest unless told otherwise.
struct Frame {
    static let guest = HardwareAddress(GuestNetwork.guestMAC)!
    static let gateway = HardwareAddress(GuestNetwork.gatewayMAC)!

    var source = Frame.guest
    var destination = Frame.gateway
    var ethertype: UInt16
    var payload: [UInt8]

    var bytes: [UInt8] { destination.bytes + source.bytes + Frame.be(ethertype) + payload }

    static func be(_ value: UInt16) -> [UInt8] { [UInt8(value >> 8), UInt8(value & 0xFF)] }
    static func be(_ value: UInt32) -> [UInt8] { be(UInt16(value >> 16)) + be(UInt16(value & 0xFFFF)) }

    /// RFC 1071.
    static func checksum(_ bytes: [UInt8]) -> UInt16 {
        var sum: UInt32 = 0
        for index in stride(from: 0, to: bytes.count, by: 2) {
            sum += UInt32(bytes[index]) << 8 | UInt32(index + 1 < bytes.count ? bytes[index + 1] : 0)
        }
        while sum > 0xFFFF { sum = sum >> 16 + sum & 0xFFFF }
        return ~UInt16(sum)
    }

    static func ipv4(
        _ number: UInt8, to: IPv4Address, from: IPv4Address = GuestNetwork.address, _ payload: [UInt8]
    ) -> Frame {
        var header: [UInt8] = [0x45, 0] + be(UInt16(20 + payload.count)) + [0, 1, 0x40, 0, 64, number, 0, 0]
        header += be(from.bits) + be(to.bits)
        let sum = checksum(header)
        header[10] = UInt8(sum >> 8)
        header[11] = UInt8(sum & 0xFF)
        return Frame(ethertype: 0x0800, payload: header + payload)
    }

    private static func pseudo(_ number: UInt8, _ from: IPv4Address, _ to: IPv4Address, _ count: Int) -> [UInt8] {
        be(from.bits) + be(to.bits) + [0, number] + be(UInt16(count))
    }

    struct TCPFlags: OptionSet {
        let rawValue: UInt8
        static let fin = TCPFlags(rawValue: 1)
        static let syn = TCPFlags(rawValue: 2)
        static let rst = TCPFlags(rawValue: 4)
        static let psh = TCPFlags(rawValue: 8)
        static let ack = TCPFlags(rawValue: 16)
    }

    static func tcp(
        to: IPv4Address, _ port: UInt16, from: IPv4Address = GuestNetwork.address, sourcePort: UInt16,
        flags: TCPFlags = .syn, sequence: UInt32 = 1000, acknowledgement: UInt32 = 0, _ data: [UInt8] = []
    ) -> Frame {
        var segment = be(sourcePort) + be(port) + be(sequence) + be(acknowledgement)
        segment += [0x50, flags.rawValue] + be(UInt16(65_535)) + [0, 0, 0, 0] + data
        let sum = checksum(pseudo(6, from, to, segment.count) + segment)
        segment[16] = UInt8(sum >> 8)
        segment[17] = UInt8(sum & 0xFF)
        return ipv4(6, to: to, from: from, segment)
    }

    static func udp(
        to: IPv4Address, _ port: UInt16, from: IPv4Address = GuestNetwork.address, sourcePort: UInt16,
        _ data: [UInt8] = [1, 2, 3, 4]
    ) -> Frame {
        var datagram = be(sourcePort) + be(port) + be(UInt16(8 + data.count)) + [0, 0] + data
        let sum = checksum(pseudo(17, from, to, datagram.count) + datagram)
        datagram[6] = UInt8(sum >> 8)
        datagram[7] = UInt8(sum & 0xFF)
        return ipv4(17, to: to, from: from, datagram)
    }

    /// An echo request (RFC 792).
    static func ping(to: IPv4Address, identifier: UInt16 = 7) -> Frame {
        var message: [UInt8] = [8, 0, 0, 0] + be(identifier) + be(UInt16(1)) + [9, 9, 9, 9]
        let sum = checksum(message)
        message[2] = UInt8(sum >> 8)
        message[3] = UInt8(sum & 0xFF)
        return ipv4(1, to: to, message)
    }

    static func arp(operation: UInt16, claiming address: IPv4Address, about target: IPv4Address) -> Frame {
        let payload: [UInt8] =
            [0, 1, 8, 0, 6, 4] + be(operation) + guest.bytes + be(address.bits) + [0, 0, 0, 0, 0, 0] + be(target.bits)
        return Frame(destination: HardwareAddress(255, 255, 255, 255, 255, 255), ethertype: 0x0806, payload: payload)
    }
}

/// What a guest's card received, as far as tests look.
struct Received: Equatable {
    var ethertype: UInt16
    var number: UInt8 = 0
    var from = IPv4Address(bits: 0)
    var sourcePort: UInt16 = 0
    var port: UInt16 = 0
    var flags: UInt8 = 0
    var sequence: UInt32 = 0
    /// The type of ICMP messages.
    var type: UInt8 = 0
    var data: [UInt8] = []

    init?(_ frame: [UInt8]) {
        guard frame.count >= 14 else { return nil }
        func word(_ offset: Int) -> UInt16 {
            offset + 1 < frame.count ? UInt16(frame[offset]) << 8 | UInt16(frame[offset + 1]) : 0
        }
        ethertype = word(12)
        guard ethertype == 0x0800, frame.count >= 34 else { return }
        number = frame[23]
        from = IPv4Address(bits: UInt32(word(26)) << 16 | UInt32(word(28)))
        let header = 14 + Int(frame[14] & 15) * 4
        let end = min(frame.count, 14 + Int(word(16)))
        switch number {
        case 1: type = header < frame.count ? frame[header] : 0
        case 6, 17:
            sourcePort = word(header)
            port = word(header + 2)
            guard number == 6, header + 20 <= end else {
                data = header + 8 <= end ? Array(frame[header + 8..<end]) : []
                return
            }
            sequence = UInt32(word(header + 4)) << 16 | UInt32(word(header + 6))
            flags = frame[header + 13]
            let start = header + Int(frame[header + 12] >> 4) * 4
            data = start <= end ? Array(frame[start..<end]) : []
        default: break
        }
    }

    var isReset: Bool { number == 6 && flags & 4 != 0 }
    var isAccepted: Bool { number == 6 && flags & 0x12 == 0x12 }
    var isUnreachable: Bool { number == 1 && type == 3 }
}
