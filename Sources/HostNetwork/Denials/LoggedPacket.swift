import SandboxModel

/// A packet that was refused, as the kernel's log tells it: the rule, and what its headers say.
///
/// The bytes come from a guest and are believed in nothing: a header that is short or odd leaves out what it would say.
struct LoggedPacket: Equatable {
    var rule: String
    var transport: String
    var address: IPv4Address?
    var port: UInt16?

    init(rule: String, transport: String, address: IPv4Address? = nil, port: UInt16? = nil) {
        self.rule = rule
        self.transport = transport
        self.address = address
        self.port = port
    }

    /// The messages of what one read of an NFLOG socket brought (linux/netfilter/nfnetlink_log.h); those that are
    /// something else, or broken, are left out.
    static func packets(in bytes: UnsafeRawBufferPointer) -> [LoggedPacket] {
        var packets: [LoggedPacket] = []
        var rest = Bytes(bytes)
        while rest.count >= headerLength {
            // nlmsghdr: length, type, flags, sequence, port.
            let length = Int(rest.littleEndian32(0))
            guard length >= headerLength, length <= rest.count else { break }
            // NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_PACKET.
            if rest.littleEndian16(4) == 0x0400,
                let packet = LoggedPacket(rest.slice(headerLength, length - headerLength))
            {
                packets.append(packet)
            }
            rest = rest.dropping((length + 3) & ~3)
        }
        return packets
    }

    private static let headerLength = 16
    /// nfgenmsg, before the attributes.
    private static let familyLength = 4

    private init?(_ message: Bytes) {
        guard message.count >= LoggedPacket.familyLength else { return nil }
        var rest = message.dropping(LoggedPacket.familyLength)
        var prefix: String?
        var ethertype: UInt16?
        var payload: Bytes?
        var isTagged = false
        while rest.count >= 4 {
            let length = Int(rest.littleEndian16(0))
            guard length >= 4, length <= rest.count else { break }
            let value = rest.slice(4, length - 4)
            switch rest.littleEndian16(2) & 0x3FFF {
            case 1 where value.count >= 2: ethertype = value.bigEndian16(0)  // NFULA_PACKET_HDR
            case 9: payload = value  // NFULA_PAYLOAD
            case 10: prefix = value.text  // NFULA_PREFIX
            case 20: isTagged = true  // NFULA_VLAN
            default: break
            }
            rest = rest.dropping((length + 3) & ~3)
        }
        guard let prefix, !prefix.isEmpty else { return nil }
        self.init(
            rule: prefix,
            transport: isTagged ? "vlan" : ethertype.map(LoggedPacket.name(ofEthertype:)) ?? "unknown")
        guard let payload, let ethertype, !isTagged else { return }
        switch ethertype {
        case 0x0800: readIPv4(payload)
        case 0x0806: readARP(payload)
        default: break
        }
    }

    private static func name(ofEthertype type: UInt16) -> String {
        switch type {
        case 0x0800: "ipv4"
        case 0x0806: "arp"
        case 0x86DD: "ipv6"
        case 0x8100, 0x88A8: "vlan"
        default: "0x" + String(type, radix: 16)
        }
    }

    /// RFC 791, section 3.1; the ports of TCP and UDP are the four bytes behind it.
    private mutating func readIPv4(_ packet: Bytes) {
        guard packet.count >= 20, packet[0] >> 4 == 4 else { return }
        let number = packet[9]
        transport =
            switch number {
            case 1: "icmp"
            case 6: "tcp"
            case 17: "udp"
            default: String(number)
            }
        address = IPv4Address(bits: packet.bigEndian32(16))
        let header = Int(packet[0] & 0x0F) * 4
        let isFirstFragment = packet.bigEndian16(6) & 0x1FFF == 0
        guard number == 6 || number == 17, isFirstFragment, header >= 20, packet.count >= header + 4 else { return }
        port = packet.bigEndian16(header + 2)
    }

    /// RFC 826; the address is the one that was claimed to be the sender's.
    private mutating func readARP(_ packet: Bytes) {
        guard packet.count >= 28, packet.bigEndian16(2) == 0x0800, packet[4] == 6, packet[5] == 4 else { return }
        address = IPv4Address(bits: packet.bigEndian32(14))
    }
}

/// Part of a buffer; every access is within it, since the callers have asked for its length.
private struct Bytes {
    private let base: UnsafeRawBufferPointer

    init(_ base: UnsafeRawBufferPointer) { self.base = base }

    var count: Int { base.count }

    subscript(_ offset: Int) -> UInt8 { base[offset] }

    func slice(_ offset: Int, _ length: Int) -> Bytes {
        Bytes(UnsafeRawBufferPointer(rebasing: base[offset..<offset + length]))
    }

    func dropping(_ length: Int) -> Bytes { Bytes(UnsafeRawBufferPointer(rebasing: base.dropFirst(length))) }

    func littleEndian16(_ offset: Int) -> UInt16 { UInt16(base[offset]) | UInt16(base[offset + 1]) << 8 }

    func littleEndian32(_ offset: Int) -> UInt32 {
        UInt32(littleEndian16(offset)) | UInt32(littleEndian16(offset + 2)) << 16
    }

    func bigEndian16(_ offset: Int) -> UInt16 { UInt16(base[offset]) << 8 | UInt16(base[offset + 1]) }

    func bigEndian32(_ offset: Int) -> UInt32 {
        UInt32(bigEndian16(offset)) << 16 | UInt32(bigEndian16(offset + 2))
    }

    /// Up to the first zero.
    var text: String { String(decoding: base.prefix { $0 != 0 }.prefix(64), as: UTF8.self) }
}
