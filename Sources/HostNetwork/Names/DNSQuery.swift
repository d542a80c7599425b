/// A question with what it takes to answer it: exactly one question, of which the bytes are kept as they came.
struct DNSQuery: Sendable, Equatable {
    var id: UInt16
    var recursionDesired: Bool
    var checkingDisabled: Bool
    /// In lower case, without the dot at the end; empty for the root.
    var name: String
    var type: UInt16
    var recordClass: UInt16
    /// The question section as asked, letters' case included: some clients compare (draft-vixie-dnsext-dns0x20).
    var question: [UInt8]
    /// Whether the client understands extensions (RFC 6891), and so can be told a reason.
    var hasExtensions: Bool

    /// What a message from the guest is.
    enum Parsed: Equatable {
        case query(DNSQuery)
        /// Not a question this answers: the answer to send instead.
        case refused([UInt8])
        /// Nothing that could be answered.
        case ignored
    }

    /// Takes a message of the guest's apart.
    static func parse(_ bytes: [UInt8]) -> Parsed {
        guard bytes.count >= 12, bytes.count <= DNSReader.maxMessage else { return .ignored }
        let id = UInt16(bytes[0]) << 8 | UInt16(bytes[1])
        // An answer is never answered: that way two servers could keep each other busy.
        guard bytes[2] & 0x80 == 0 else { return .ignored }
        let opcode = bytes[2] >> 3 & 15
        func refusal(_ code: DNSCode) -> Parsed {
            .refused([
                bytes[0], bytes[1], 0x80 | bytes[2] & 0x79, 0x80 | code.rawValue, 0, 0, 0, 0, 0, 0, 0, 0,
            ])
        }
        guard opcode == 0 else { return refusal(.notImplemented) }
        do {
            var reader = DNSReader(bytes, at: 4)
            let counts = (try reader.word(), try reader.word(), try reader.word(), try reader.word())
            guard counts.0 == 1, counts.1 == 0, counts.2 == 0, counts.3 <= 1 else { return refusal(.formatError) }
            let start = reader.position
            let name = try reader.name()
            let type = try reader.word()
            let recordClass = try reader.word()
            // Nothing stands before the question that a pointer could mean but the header.
            let question = Array(bytes[start..<reader.position])
            guard question.count == name.utf8.count + (name.isEmpty ? 5 : 6) else { return refusal(.formatError) }
            var hasExtensions = false
            if counts.3 == 1 {
                guard try reader.name().isEmpty, try reader.word() == DNSType.opt else { return refusal(.formatError) }
                try reader.skip(6)
                try reader.skip(Int(try reader.word()))
                hasExtensions = true
            }
            guard reader.isAtEnd else { return refusal(.formatError) }
            return .query(
                DNSQuery(
                    id: id, recursionDesired: bytes[2] & 1 != 0, checkingDisabled: bytes[3] & 0x10 != 0, name: name,
                    type: type, recordClass: recordClass, question: question, hasExtensions: hasExtensions))
        } catch {
            return refusal(.formatError)
        }
    }

    /// An answer to this question: a code, addresses that all belong to the asked name, and a reason if the client can
    /// be told one. As many addresses as fit are given, so that nobody has to ask again over TCP.
    func answer(
        _ code: DNSCode, addresses: [UInt32] = [], seconds: UInt32 = 0, reason: DNSReason? = nil, text: String = "",
        limit: Int = 512
    ) -> [UInt8] {
        let extra = reason == nil || !hasExtensions ? [] : Array(text.utf8.prefix(64))
        let extensions = hasExtensions ? 11 + (reason == nil ? 0 : 6 + extra.count) : 0
        let room = max(0, limit - 12 - question.count - extensions)
        let given = addresses.prefix(room / 16)
        var writer = DNSWriter()
        writer.word(id)
        writer.byte(0x80 | (recursionDesired ? 1 : 0))
        writer.byte(0x80 | (checkingDisabled ? 0x10 : 0) | code.rawValue)
        writer.word(1)
        writer.word(UInt16(given.count))
        writer.word(0)
        writer.word(hasExtensions ? 1 : 0)
        writer.raw(question)
        for address in given {
            writer.word(0xc00c)  // the name asked for, right behind the header
            writer.word(DNSType.a)
            writer.word(1)
            writer.long(seconds)
            writer.word(4)
            writer.long(address)
        }
        guard hasExtensions else { return writer.bytes }
        writer.byte(0)
        writer.word(DNSType.opt)
        writer.word(1232)  // largest UDP message taken, as DNS flag day 2020 recommends
        writer.long(0)
        guard let reason else {
            writer.word(0)
            return writer.bytes
        }
        writer.word(UInt16(6 + extra.count))
        writer.word(15)  // extended DNS error
        writer.word(UInt16(2 + extra.count))
        writer.word(reason.rawValue)
        writer.raw(extra)
        return writer.bytes
    }

    /// Records of another type as a name server gave them, as an answer to this question; longer ones than the client
    /// takes are to be asked for again over TCP.
    func answer(_ records: DNSRecords, limit: Int) -> [UInt8] {
        guard records.bytes.count <= limit else {
            var empty = answer(.noError)
            empty[2] |= 2
            return empty
        }
        var bytes = records.bytes
        bytes.replaceSubrange(0..<2, with: [UInt8(id >> 8), UInt8(id & 255)])
        // As long as the one in there, and the same but for letters' case: what points into it stays right.
        bytes.replaceSubrange(12..<12 + question.count, with: question)
        return bytes
    }

    /// The question Martlet itself asks a name server: no extensions, nothing of the guest's but a name and a type.
    ///
    /// Preconditions: `name` came from `HostPattern.normalized`.
    static func outgoing(_ name: String, type: UInt16 = DNSType.a, id: UInt16) -> [UInt8] {
        var writer = DNSWriter()
        writer.word(id)
        writer.word(0x0100)  // recursion desired
        writer.word(1)
        writer.word(0)
        writer.word(0)
        writer.word(0)
        writer.name(name)
        writer.word(type)
        writer.word(1)
        return writer.bytes
    }
}
