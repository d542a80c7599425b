/// What the first message of a TLS client says of where it is going (RFC 8446 sections 4.1.2 and 5.1).
struct ClientHello: Sendable, Equatable {
    /// As sent, not checked; nil where there is none.
    var serverName: String?
    /// Whether the name that counts may be hidden in it (RFC 9849). What browsers send when they have nothing to hide
    /// looks the same, by design.
    var hasEncryptedName: Bool
    /// Bytes of the records it came in.
    var length = 0

    /// Most bytes read to find the end of it: the message itself is bounded by 16 KiB, and may come in small records.
    static let maxBytes = 20_480
    static let maxMessage = 16_384

    enum Parsed: Sendable, Equatable {
        case hello(ClientHello)
        case incomplete
        case invalid(String)
    }

    /// Whether bytes begin as TLS does: a record of handshake messages, of any version there is.
    static func looksLikeTLS(_ bytes: some Collection<UInt8>) -> Bool {
        var iterator = bytes.makeIterator()
        guard iterator.next() == 22 else { return false }
        guard let major = iterator.next() else { return true }
        return major == 3
    }

    /// Reads a client's first bytes, which may hold more than the message, or not all of it yet.
    static func parse(_ all: [UInt8]) -> Parsed {
        let bytes = all.prefix(maxBytes)
        var message: [UInt8] = []
        var position = 0
        while bytes.count - position >= 5 {
            let length = Int(bytes[position + 3]) << 8 | Int(bytes[position + 4])
            guard bytes[position] == 22, bytes[position + 1] == 3 else { return .invalid("not a handshake record") }
            guard (1...16_384).contains(length) else { return .invalid("a record of \(length) bytes") }
            let start = position + 5
            // What a record that is not whole yet holds so far may tell that there is nothing to wait for.
            message.append(contentsOf: bytes[start..<min(bytes.count, start + length)])
            guard message.isEmpty || message[0] == 1 else { return .invalid("the first message is no ClientHello") }
            guard start + length <= bytes.count else { break }
            position = start + length
            guard message.count >= 4 else { continue }
            let size = Int(message[1]) << 16 | Int(message[2]) << 8 | Int(message[3])
            guard size <= maxMessage else { return .invalid("a ClientHello of \(size) bytes") }
            guard message.count <= 4 + size else { return .invalid("bytes behind a ClientHello") }
            if message.count == 4 + size { return body(Array(message[4...]), length: position) }
        }
        return bytes.count >= maxBytes ? .invalid("a ClientHello in too many records") : .incomplete
    }

    private struct Short: Error {
        var what: String
    }

    private struct Cursor {
        var bytes: ArraySlice<UInt8>

        mutating func number(_ size: Int) throws(Short) -> Int {
            guard bytes.count >= size else { throw Short(what: "a ClientHello that ends early") }
            defer { bytes.removeFirst(size) }
            return bytes.prefix(size).reduce(0) { $0 << 8 | Int($1) }
        }

        /// Bytes behind a length of this size.
        mutating func vector(_ size: Int) throws(Short) -> ArraySlice<UInt8> {
            let length = try number(size)
            guard bytes.count >= length else { throw Short(what: "a ClientHello that ends early") }
            defer { bytes.removeFirst(length) }
            return bytes.prefix(length)
        }
    }

    private static func body(_ bytes: [UInt8], length: Int) -> Parsed {
        do {
            var cursor = Cursor(bytes: bytes[...])
            _ = try cursor.number(2)
            guard cursor.bytes.count >= 32 else { return .invalid("a ClientHello that ends early") }
            cursor.bytes.removeFirst(32)
            _ = try cursor.vector(1)
            _ = try cursor.vector(2)
            _ = try cursor.vector(1)
            var hello = ClientHello(serverName: nil, hasEncryptedName: false, length: length)
            guard !cursor.bytes.isEmpty else { return .hello(hello) }
            var extensions = Cursor(bytes: try cursor.vector(2))
            guard cursor.bytes.isEmpty else { return .invalid("bytes behind a ClientHello's extensions") }
            var seen: Set<Int> = []
            while !extensions.bytes.isEmpty {
                let type = try extensions.number(2)
                let value = try extensions.vector(2)
                // Which of two would count is up to the server.
                guard seen.insert(type).inserted else { return .invalid("an extension given twice") }
                switch type {
                case 0: hello.serverName = try name(value)
                // Encrypted Client Hello, and the encrypted server name of its first drafts.
                case 0xfe0d, 0xffce: hello.hasEncryptedName = true
                default: break
                }
            }
            return .hello(hello)
        } catch {
            return .invalid(error.what)
        }
    }

    /// The one host name of a server_name extension (RFC 6066 section 3).
    private static func name(_ value: ArraySlice<UInt8>) throws(Short) -> String {
        var outer = Cursor(bytes: value)
        var list = Cursor(bytes: try outer.vector(2))
        guard outer.bytes.isEmpty, try list.number(1) == 0 else { throw Short(what: "a server name of unknown kind") }
        let name = try list.vector(2)
        guard list.bytes.isEmpty, !name.isEmpty, name.allSatisfy({ (33...126).contains($0) }) else {
            throw Short(what: "a server name that is none")
        }
        return String(decoding: name, as: UTF8.self)
    }
}
