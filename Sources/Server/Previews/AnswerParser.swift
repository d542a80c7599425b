import NIOCore
import NIOHTTP1

/// Why what a sandbox answered is no HTTP.
struct AnswerError: Error {
    var what: String
    init(_ what: String) { self.what = what }
}

/// Reads one HTTP/1 answer from bytes a sandbox chose: strict where it matters, bounded everywhere, and never holding more
/// than a head or a line. The connection is good for this one answer; what comes after it is not looked at.
struct AnswerParser {
    enum Item: Equatable {
        /// 100 to 199; the true answer follows, unless it is 101.
        case informational(HTTPResponseHead)
        case head(HTTPResponseHead, AnswerFraming)
        case body(ByteBuffer)
        case end
    }

    private enum State {
        case head
        case length(UInt64)
        case chunkSize
        case chunk(UInt64)
        case chunkEnd
        case trailers
        case untilEnd
        /// 101: all that follows is another protocol's.
        case switched
        case over
    }

    /// As the daemon's own requests.
    private static let maxHeadBytes = 80 * 1024
    private static let maxFields = 500
    private static let maxInformational = 16
    private static let maxChunkLine = 256

    private let isHeadRequest: Bool
    private var state = State.head
    private var buffer = ByteBuffer()
    private var informational = 0
    private var trailerBytes = 0

    /// - Parameter isHeadRequest: an answer to HEAD has no body, whatever it says.
    init(isHeadRequest: Bool) { self.isHeadRequest = isHeadRequest }

    /// Takes in what came.
    mutating func feed(_ bytes: [UInt8]) {
        if buffer.readableBytes == 0 { buffer.clear() }
        buffer.writeBytes(bytes)
    }

    /// The next item; nil when more bytes are needed.
    mutating func next() throws(AnswerError) -> Item? {
        while true {
            switch state {
            case .head:
                guard let line = try takeHead() else { return nil }
                return line
            case .length(let left):
                guard left > 0 else { return end() }
                guard let piece = take(upTo: left) else { return nil }
                state = .length(left - UInt64(piece.readableBytes))
                return .body(piece)
            case .chunkSize:
                guard let line = try takeLine(limit: AnswerParser.maxChunkLine) else { return nil }
                let size = try AnswerParser.chunkSize(line)
                state = size == 0 ? .trailers : .chunk(size)
            case .chunk(let left):
                guard let piece = take(upTo: left) else { return nil }
                let rest = left - UInt64(piece.readableBytes)
                state = rest == 0 ? .chunkEnd : .chunk(rest)
                return .body(piece)
            case .chunkEnd:
                guard let line = try takeLine(limit: 0) else { return nil }
                guard line.isEmpty else { throw AnswerError("a chunk is longer than it said") }
                state = .chunkSize
            case .trailers:
                guard let line = try takeLine(limit: AnswerParser.maxHeadBytes) else { return nil }
                trailerBytes += line.count + 2
                guard trailerBytes <= AnswerParser.maxHeadBytes else { throw AnswerError("its trailers are too long") }
                // A proxy may leave trailers out (RFC 9110, section 6.5.1).
                if line.isEmpty { return end() }
            case .untilEnd:
                return take(upTo: .max).map { .body($0) }
            case .switched, .over: return nil
            }
        }
    }

    /// Takes note that no more comes; the answer's end, or nil when that was told before.
    mutating func finish() throws(AnswerError) -> Item? {
        switch state {
        case .untilEnd: return end()
        case .over, .switched: return nil
        case .head: throw AnswerError(buffer.readableBytes == 0 ? "it is empty" : "it ends in the middle of its head")
        default: throw AnswerError("it ends before its body does")
        }
    }

    /// After 101: what came behind the head already.
    mutating func takeRest() -> ByteBuffer {
        defer { buffer.clear() }
        return buffer
    }

    private mutating func end() -> Item {
        state = .over
        return .end
    }

    private mutating func take(upTo limit: UInt64) -> ByteBuffer? {
        guard buffer.readableBytes > 0 else { return nil }
        return buffer.readSlice(length: Int(min(limit, UInt64(buffer.readableBytes))))
    }

    /// A line without its end, which may be LF alone (RFC 9112, section 2.2).
    private mutating func takeLine(limit: Int) throws(AnswerError) -> [UInt8]? {
        let view = buffer.readableBytesView
        guard let feed = view.prefix(limit + 2).firstIndex(of: 10) else {
            guard view.count < limit + 2 else { throw AnswerError("a line is too long") }
            return nil
        }
        var line = Array(view[view.startIndex..<feed])
        buffer.moveReaderIndex(forwardBy: line.count + 1)
        if line.last == 13 { line.removeLast() }
        return line
    }

    private static func chunkSize(_ line: [UInt8]) throws(AnswerError) -> UInt64 {
        let digits = line.prefix { $0 != UInt8(ascii: ";") && $0 != 32 && $0 != 9 }
        guard (1...15).contains(digits.count), let text = String(validating: digits, as: UTF8.self),
            digits.allSatisfy({ $0 != UInt8(ascii: "+") && $0 != UInt8(ascii: "-") }),
            let size = UInt64(text, radix: 16)
        else { throw AnswerError("a chunk's size cannot be read") }
        return size
    }

    // MARK: The head

    private mutating func takeHead() throws(AnswerError) -> Item? {
        guard let lines = try takeHeadLines() else { return nil }
        let head = try AnswerParser.head(lines)
        let code = head.status.code
        if (100..<200).contains(code) {
            informational += 1
            guard informational <= AnswerParser.maxInformational else {
                throw AnswerError("it never comes to an answer")
            }
            if code == 101 { state = .switched }
            return .informational(head)
        }
        let framing = try AnswerFraming(head, isHeadRequest: isHeadRequest)
        switch framing {
        case .none: state = .length(0)
        case .length(let count): state = .length(count)
        case .chunked: state = .chunkSize
        case .untilEnd: state = .untilEnd
        }
        return .head(head, framing)
    }

    /// The lines up to the empty one, once all of them are there.
    private mutating func takeHeadLines() throws(AnswerError) -> [[UInt8]]? {
        let view = buffer.readableBytesView.prefix(AnswerParser.maxHeadBytes)
        var lines: [[UInt8]] = []
        var start = view.startIndex
        while let feed = view[start...].firstIndex(of: 10) {
            var line = Array(view[start..<feed])
            if line.last == 13 { line.removeLast() }
            start = view.index(after: feed)
            if line.isEmpty, !lines.isEmpty {
                buffer.moveReaderIndex(forwardBy: start - view.startIndex)
                return lines
            }
            // Empty lines before the first one are passed over.
            if !line.isEmpty { lines.append(line) }
            guard lines.count <= AnswerParser.maxFields + 1 else { throw AnswerError("it has too many header fields") }
        }
        guard view.count < AnswerParser.maxHeadBytes else { throw AnswerError("its head is too long") }
        return nil
    }

    private static func head(_ lines: [[UInt8]]) throws(AnswerError) -> HTTPResponseHead {
        let status = lines[0]
        // "HTTP/1." DIGIT SP 3DIGIT [SP reason]: RFC 9112, section 4.
        guard status.count >= 12, status.starts(with: Array("HTTP/1.".utf8)), (48...57).contains(status[7]),
            status[8] == 32, status[9..<12].allSatisfy({ (48...57).contains($0) }),
            status.count == 12 || status[12] == 32
        else { throw AnswerError("it does not begin as HTTP/1 does") }
        let code = status[9..<12].reduce(0) { $0 * 10 + Int($1 - 48) }
        guard (100...599).contains(code) else { throw AnswerError("its status is \(code)") }
        let reason = String(decoding: status.dropFirst(13).filter(HeaderText.isValueByte), as: UTF8.self)
        var headers = HTTPHeaders()
        for line in lines.dropFirst() { try add(line, to: &headers) }
        let isNamed = HTTPResponseStatus(statusCode: code).reasonPhrase == reason
        return HTTPResponseHead(
            version: HTTPVersion(major: 1, minor: Int(status[7] - 48)),
            status: isNamed
                ? HTTPResponseStatus(statusCode: code) : .custom(code: UInt(code), reasonPhrase: reason),
            headers: headers)
    }

    private static func add(_ line: [UInt8], to headers: inout HTTPHeaders) throws(AnswerError) {
        guard let colon = line.firstIndex(of: UInt8(ascii: ":")) else {
            throw AnswerError("a header field has no colon")
        }
        // Blanks before the colon go (RFC 9112, section 5.1); a line that begins with one is a fold, which is gone since
        // RFC 7230.
        var name = line[..<colon]
        while name.last == 32 || name.last == 9 { name.removeLast() }
        guard !name.isEmpty, name.allSatisfy(HeaderText.isTokenByte) else {
            throw AnswerError("a header field's name is none")
        }
        var value = line[(colon + 1)...]
        while value.first == 32 || value.first == 9 { value.removeFirst() }
        while value.last == 32 || value.last == 9 { value.removeLast() }
        guard value.allSatisfy(HeaderText.isValueByte) else { throw AnswerError("a header field's value is none") }
        headers.add(name: String(decoding: name, as: UTF8.self), value: String(decoding: value, as: UTF8.self))
    }
}

/// How an answer's body ends (RFC 9112, section 6.3).
enum AnswerFraming: Sendable, Equatable {
    case none
    case length(UInt64)
    case chunked
    /// With the connection.
    case untilEnd

    init(_ head: HTTPResponseHead, isHeadRequest: Bool) throws(AnswerError) {
        if isHeadRequest || head.status.code == 204 || head.status.code == 304 {
            self = .none
            return
        }
        let codings = head.headers[canonicalForm: "transfer-encoding"].map { $0.lowercased() }
        if !codings.isEmpty {
            guard codings == ["chunked"] else { throw AnswerError("its transfer coding is not one we know") }
            self = .chunked
            return
        }
        self = try AnswerFraming.length(of: head.headers).map { .length($0) } ?? .untilEnd
    }

    /// The length a head tells; several that are equal count as one.
    static func length(of headers: HTTPHeaders) throws(AnswerError) -> UInt64? {
        let lengths = Set(headers[canonicalForm: "content-length"].map { String($0) })
        guard let text = lengths.first else { return nil }
        guard lengths.count == 1, (1...18).contains(text.utf8.count), text.utf8.allSatisfy({ (48...57).contains($0) }),
            let length = UInt64(text)
        else { throw AnswerError("its length is not one number") }
        return length
    }
}
