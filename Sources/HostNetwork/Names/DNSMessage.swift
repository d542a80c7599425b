import SandboxModel

/// The types of records that decide something here (RFC 1035 section 3.2.2, RFC 3596, RFC 6891, RFC 9460).
enum DNSType {
    static let a: UInt16 = 1
    static let cname: UInt16 = 5
    static let soa: UInt16 = 6
    static let aaaa: UInt16 = 28
    static let opt: UInt16 = 41
    static let svcb: UInt16 = 64
    static let https: UInt16 = 65
}

/// What an answer says besides its records (RFC 1035 section 4.1.1).
enum DNSCode: UInt8, Sendable {
    case noError = 0
    case formatError = 1
    case serverFailure = 2
    case noSuchName = 3
    case notImplemented = 4
    case refused = 5
}

/// Why there is no answer, for whoever looks with a tool (extended DNS errors, RFC 8914).
enum DNSReason: UInt16, Sendable {
    case blocked = 15
    case filtered = 17
    case prohibited = 18
    case unreachable = 22
}

/// A message that is none, or that nobody well-meaning sends.
struct DNSMalformed: Error, Equatable {
    var what: String
    init(_ what: String) { self.what = what }
}

/// Reads a message front to back; every step is bounded by the message's own length.
struct DNSReader {
    /// Longest message taken: that of a TCP frame.
    static let maxMessage = 65_535
    private let bytes: [UInt8]
    private(set) var position: Int

    init(_ bytes: [UInt8], at position: Int = 0) {
        self.bytes = bytes
        self.position = position
    }

    var isAtEnd: Bool { position == bytes.count }

    mutating func byte() throws(DNSMalformed) -> UInt8 {
        guard position < bytes.count else { throw DNSMalformed("it ends early") }
        defer { position += 1 }
        return bytes[position]
    }

    mutating func word() throws(DNSMalformed) -> UInt16 {
        let high = UInt16(try byte())
        return high << 8 | UInt16(try byte())
    }

    mutating func long() throws(DNSMalformed) -> UInt32 {
        let high = UInt32(try word())
        return high << 16 | UInt32(try word())
    }

    /// Goes back to a place already read.
    mutating func move(to position: Int) { self.position = min(position, bytes.count) }

    mutating func skip(_ count: Int) throws(DNSMalformed) {
        guard count <= bytes.count - position else { throw DNSMalformed("it ends early") }
        position += count
    }

    /// A name as text, in lower case and without the dot at the end; the root is empty. Bytes that no host's name has
    /// are kept as `?`, so that the text never equals a rule's.
    ///
    /// A compression pointer (RFC 1035 section 4.1.4) must point before the place where the name, or the part last
    /// jumped to, began: that way pointers cannot loop, whatever they say.
    mutating func name() throws(DNSMalformed) -> String {
        var text: [UInt8] = []
        var cursor = position
        var start = position
        var end: Int?
        while true {
            guard cursor < bytes.count else { throw DNSMalformed("a name ends early") }
            let length = Int(bytes[cursor])
            switch length >> 6 {
            case 0:
                cursor += 1
                if length == 0 {
                    position = end ?? cursor
                    return String(decoding: text, as: UTF8.self)
                }
                guard length <= bytes.count - cursor else { throw DNSMalformed("a label ends early") }
                // 255 bytes on the wire, lengths and the root's included (RFC 1035 section 2.3.4).
                guard text.count + length + 1 <= 254 else { throw DNSMalformed("a name is too long") }
                if !text.isEmpty { text.append(UInt8(ascii: ".")) }
                for byte in bytes[cursor..<cursor + length] { text.append(DNSReader.kept(byte)) }
                cursor += length
            case 3:
                guard cursor + 1 < bytes.count else { throw DNSMalformed("a pointer ends early") }
                let target = (length & 0x3f) << 8 | Int(bytes[cursor + 1])
                guard target < start else { throw DNSMalformed("a pointer does not point back") }
                if end == nil { end = cursor + 2 }
                start = target
                cursor = target
            default: throw DNSMalformed("a label of unknown kind")
            }
        }
    }

    private static func kept(_ byte: UInt8) -> UInt8 {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): byte + 32
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"),
            UInt8(ascii: "_"):
            byte
        default: UInt8(ascii: "?")
        }
    }
}

/// Puts a message together; names are written whole.
struct DNSWriter {
    private(set) var bytes: [UInt8] = []

    mutating func byte(_ value: UInt8) { bytes.append(value) }

    mutating func word(_ value: UInt16) {
        bytes.append(UInt8(value >> 8))
        bytes.append(UInt8(value & 255))
    }

    mutating func long(_ value: UInt32) {
        word(UInt16(value >> 16))
        word(UInt16(value & 0xffff))
    }

    mutating func raw(_ more: some Sequence<UInt8>) { bytes.append(contentsOf: more) }

    /// Preconditions: labels of 1-63 bytes, as `HostPattern.normalized` sees to.
    mutating func name(_ name: String) {
        if !name.isEmpty {
            for label in name.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false) {
                byte(UInt8(truncatingIfNeeded: label.count))
                raw(label)
            }
        }
        byte(0)
    }
}
