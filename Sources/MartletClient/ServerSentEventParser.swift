import Glibc
import SandboxModel

/// One event of a `text/event-stream`.
struct ServerSentEvent: Equatable {
    /// `message` unless the stream says otherwise.
    var name = "message"
    var data: [UInt8] = []
    var id: String?
}

/// Reads `text/event-stream` piece by piece, however the pieces are cut, and holds no more than its limit.
struct ServerSentEventParser {
    private let limit: Int
    private var line: [UInt8] = []
    private var afterCarriageReturn = false
    private var isFirstLine = true
    private var event = ServerSentEvent()
    private var hasData = false

    /// - Parameter limit: most bytes of one event's data, and of one line.
    init(limit: Int = 8 << 20) { self.limit = limit }

    /// Takes in the next piece of the stream and hands over each event it completes.
    ///
    /// - Throws: `internal` when a line or an event is over the limit.
    mutating func feed(_ piece: UnsafeRawBufferPointer, _ body: (ServerSentEvent) throws -> Void) throws {
        var start = 0
        while start < piece.count {
            if afterCarriageReturn {
                afterCarriageReturn = false
                if piece[start] == 10 {
                    start += 1
                    continue
                }
            }
            let rest = UnsafeRawBufferPointer(rebasing: piece[start...])
            guard let length = Self.lineLength(rest) else {
                try append(rest)
                return
            }
            try append(UnsafeRawBufferPointer(rebasing: rest[..<length]))
            afterCarriageReturn = rest[length] == 13
            start += length + 1
            if let complete = try endLine() { try body(complete) }
        }
    }

    /// Bytes before the first line end; nil when there is none. Output is megabytes: this must not go byte by byte.
    private static func lineLength(_ bytes: UnsafeRawBufferPointer) -> Int? {
        guard let base = bytes.baseAddress else { return nil }
        let lineFeed = memchr(base, 10, bytes.count).map { base.distance(to: UnsafeRawPointer($0)) }
        let carriageReturn = memchr(base, 13, lineFeed ?? bytes.count).map { base.distance(to: UnsafeRawPointer($0)) }
        return carriageReturn ?? lineFeed
    }

    private mutating func append(_ bytes: UnsafeRawBufferPointer) throws {
        guard line.count + bytes.count <= limit else { throw Self.tooLong(limit) }
        line.append(contentsOf: bytes)
    }

    /// Acts on a whole line; an empty one completes the event, if there is one.
    private mutating func endLine() throws -> ServerSentEvent? {
        defer { line.removeAll(keepingCapacity: true) }
        if isFirstLine {
            isFirstLine = false
            if line.starts(with: [0xEF, 0xBB, 0xBF]) { line.removeFirst(3) }
        }
        if line.isEmpty {
            let complete = hasData ? event : nil
            event = ServerSentEvent(id: event.id)
            hasData = false
            return complete
        }
        let colon = line.firstIndex(of: UInt8(ascii: ":")) ?? line.endIndex
        var value = line[min(colon + 1, line.endIndex)...]
        if value.first == UInt8(ascii: " ") { value = value.dropFirst() }
        switch String(decoding: line[..<colon], as: UTF8.self) {
        case "event":
            event.name = value.isEmpty ? "message" : String(decoding: value, as: UTF8.self)
        case "data":
            guard event.data.count + value.count < limit else { throw Self.tooLong(limit) }
            if hasData { event.data.append(10) }
            event.data.append(contentsOf: value)
            hasData = true
        case "id":
            if !value.contains(0) { event.id = String(decoding: value, as: UTF8.self) }
        default:
            break
        }
        return nil
    }

    private static func tooLong(_ limit: Int) -> MartletError {
        MartletError(.internal, "event stream: the server sent an event of more than \(limit) bytes")
    }
}
