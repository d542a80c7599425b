/// What a client's first bytes are, told from themselves and not from the port.
enum FirstBytes: Sendable, Equatable {
    case tls(ClientHello)
    case http
    /// HTTP/2 without TLS, begun without asking (RFC 9113 section 3.3): its requests are not looked into.
    case http2
    /// Neither, so that nothing in it could name another host.
    case other
    case incomplete
    /// Begins as TLS does, but is none that could be understood.
    case broken(String)

    /// Longest first line that is waited for before bytes are taken for something else.
    static let maxLine = 8192
    /// More bytes than these never leave it open what they are.
    static let maxBytes = ClientHello.maxBytes

    private static let preface = Array("PRI * HTTP/2.0".utf8)
    private static let marker = Array("HTTP/".utf8)
    /// RFC 9110 section 9.3, RFC 5789, WebDAV (RFC 4918, 3253, 3744, 4791, 5323, 5842) and the others that parsers know.
    private static let methods: Set<String> = [
        "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "COPY", "LOCK", "MKCOL", "MOVE",
        "PROPFIND", "PROPPATCH", "SEARCH", "UNLOCK", "BIND", "REBIND", "UNBIND", "ACL", "REPORT", "MKACTIVITY",
        "CHECKOUT", "MERGE", "MKCALENDAR", "PURGE", "LINK", "UNLINK", "QUERY", "SOURCE",
    ]

    /// Tells what the bytes so far are. Whatever a lenient server might take for a request is `http`, to be held to the
    /// strict rules of one: empty lines and blanks in front, a tab instead of a blank, a method nobody knows.
    static func classify(_ bytes: [UInt8]) -> FirstBytes {
        guard let first = bytes.first else { return .incomplete }
        if first == 22 {
            guard ClientHello.looksLikeTLS(bytes) else { return .other }
            switch ClientHello.parse(bytes) {
            case .hello(let hello): return .tls(hello)
            case .incomplete: return .incomplete
            case .invalid(let what): return .broken(what)
            }
        }
        let line = bytes.drop { $0 == 13 || $0 == 10 || $0 == 32 || $0 == 9 }
        guard let start = line.first else { return bytes.count > maxLine ? .other : .incomplete }
        guard isLetter(start) else { return .other }
        if line.starts(with: preface) { return .http2 }
        if line.count < preface.count, preface.starts(with: line) { return .incomplete }
        let word = line.prefix { $0 > 32 && $0 < 127 }
        let next = word.endIndex < line.endIndex ? line[word.endIndex] : 0
        let isCommand = next == 32 || next == 9
        if isCommand, methods.contains(String(decoding: word, as: UTF8.self)) { return .http }
        // What begins otherwise is a request all the same if its first line names the protocol.
        let end = line.firstIndex { $0 == 10 } ?? line.endIndex
        let firstLine = line[..<end].prefix(maxLine)
        if contains(firstLine, marker) { return .http }
        if end < line.endIndex { return .other }
        guard firstLine.allSatisfy({ $0 >= 32 && $0 < 127 || $0 == 9 || $0 == 13 }) else { return .other }
        if line.count < maxLine { return .incomplete }
        return isCommand ? .http : .other
    }

    private static func isLetter(_ byte: UInt8) -> Bool { (65...90).contains(byte & 0xdf) }

    private static func contains(_ bytes: ArraySlice<UInt8>, _ part: [UInt8]) -> Bool {
        guard bytes.count >= part.count else { return false }
        for start in bytes.startIndex...(bytes.endIndex - part.count)
        where bytes[start] == part[0] && bytes[start..<start + part.count].elementsEqual(part) {
            return true
        }
        return false
    }
}
