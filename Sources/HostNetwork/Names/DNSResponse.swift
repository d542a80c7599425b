import SandboxModel

/// What a name server says about a name's addresses, with aliases followed.
struct DNSResponse: Sendable, Equatable {
    var code: DNSCode
    var isTruncated: Bool
    var addresses: [IPv4Address]
    /// How long this may be kept: the least of all records on the way, or what the zone says of names it lacks
    /// (RFC 2308).
    var seconds: UInt32

    /// Most records read of a message, and aliases followed from the asked name on.
    static let maxRecords = 256
    static let maxAliases = 16
    static let maxAddresses = 64

    private struct Record {
        var name: String
        var type: UInt16
        var seconds: UInt32
        var address: IPv4Address?
        var alias: String?
    }

    /// Reads an answer to the question `DNSQuery.outgoing(name, id: id)`.
    ///
    /// - Throws: when it is not well-formed, or not the answer to that question.
    init(_ bytes: [UInt8], to name: String, id: UInt16) throws(DNSMalformed) {
        var reader = DNSReader(bytes)
        guard try reader.word() == id else { throw DNSMalformed("an answer to another question") }
        let flags = try reader.word()
        guard flags & 0xf800 == 0x8000 else { throw DNSMalformed("not an answer") }
        let counts = (try reader.word(), try reader.word(), try reader.word())
        _ = try reader.word()
        guard counts.0 == 1 else { throw DNSMalformed("not one question") }
        guard try reader.name() == name, try reader.word() == DNSType.a, try reader.word() == 1 else {
            throw DNSMalformed("an answer to another question")
        }
        isTruncated = flags & 0x0200 != 0
        code = DNSCode(rawValue: UInt8(flags & 15)) ?? .serverFailure
        addresses = []
        seconds = 0
        // What is cut off is asked for again over TCP; its records need not even be whole.
        if isTruncated { return }

        var records: [Record] = []
        let answers = Int(counts.1)
        guard answers + Int(counts.2) <= DNSResponse.maxRecords else { throw DNSMalformed("too many records") }
        for _ in 0..<answers { records.append(try DNSResponse.record(&reader)) }
        follow(records, from: name)
        guard addresses.isEmpty else { return }
        seconds = 0
        for _ in 0..<Int(counts.2) {
            let record = try DNSResponse.record(&reader)
            if record.type == DNSType.soa { seconds = record.seconds }
        }
    }

    private mutating func follow(_ records: [Record], from name: String) {
        var current = name
        var least = UInt32.max
        for _ in 0...DNSResponse.maxAliases {
            let found = records.filter { $0.name == current && $0.address != nil }
            guard found.isEmpty else {
                addresses = Array(found.compactMap(\.address).uniqued().prefix(DNSResponse.maxAddresses))
                seconds = found.reduce(least) { min($0, $1.seconds) }
                return
            }
            guard let alias = records.first(where: { $0.name == current && $0.alias != nil }),
                let target = alias.alias
            else { return }
            least = min(least, alias.seconds)
            current = target
        }
    }

    private static func record(_ reader: inout DNSReader) throws(DNSMalformed) -> Record {
        let name = try reader.name()
        let type = try reader.word()
        let recordClass = try reader.word()
        // A negative TTL is none (RFC 2181 section 8).
        let time = try reader.long()
        var record = Record(name: name, type: type, seconds: time > UInt32(Int32.max) ? 0 : time)
        let length = Int(try reader.word())
        let start = reader.position
        try reader.skip(length)
        let end = reader.position
        guard recordClass == 1 else {
            record.type = 0
            return record
        }
        var inner = reader.rewound(to: start)
        switch type {
        case DNSType.a:
            guard length == 4 else { throw DNSMalformed("an address of \(length) bytes") }
            record.address = IPv4Address(bits: try inner.long())
        case DNSType.cname:
            record.alias = try inner.name()
            guard inner.position == end else { throw DNSMalformed("an alias that does not fill its record") }
        case DNSType.soa:
            _ = try inner.name()
            _ = try inner.name()
            try inner.skip(16)
            record.seconds = min(record.seconds, try inner.long())
            guard inner.position == end else { throw DNSMalformed("a zone's record of the wrong length") }
        default: break
        }
        return record
    }
}

/// What a name server says of a name in records that are passed on as they are; only that it is the answer is checked.
struct DNSRecords: Sendable, Equatable {
    let bytes: [UInt8]
    let code: DNSCode
    let isTruncated: Bool

    /// - Throws: when it is not the answer to the question `DNSQuery.outgoing(name, type: type, id: id)`.
    init(_ bytes: [UInt8], to name: String, type: UInt16, id: UInt16) throws(DNSMalformed) {
        var reader = DNSReader(bytes)
        guard try reader.word() == id else { throw DNSMalformed("an answer to another question") }
        let flags = try reader.word()
        guard flags & 0xf800 == 0x8000, try reader.word() == 1 else { throw DNSMalformed("not an answer") }
        try reader.skip(6)
        let question = DNSQuery.outgoing(name, type: type, id: id).dropFirst(12)
        guard try reader.name() == name, try reader.word() == type, try reader.word() == 1,
            reader.position == 12 + question.count
        else { throw DNSMalformed("an answer to another question") }
        self.bytes = bytes
        code = DNSCode(rawValue: UInt8(flags & 15)) ?? .serverFailure
        isTruncated = flags & 0x0200 != 0
    }
}

extension DNSReader {
    fileprivate func rewound(to position: Int) -> DNSReader {
        var copy = self
        copy.move(to: position)
        return copy
    }
}

extension Sequence where Element: Hashable {
    fileprivate func uniqued() -> [Element] {
        var seen: Set<Element> = []
        return filter { seen.insert($0).inserted }
    }
}
