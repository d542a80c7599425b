import AsyncHTTPClient
import FoundationEssentials
import MartletAPI
import NIOCore
import SandboxModel

/// The events of one answer of type `text/event-stream`, read as the caller asks for them.
struct EventStreamReader {
    private var body: HTTPClientResponse.Body.AsyncIterator
    private var parser = ServerSentEventParser()
    private var ready: [ServerSentEvent] = []
    private var position = 0

    init(_ response: HTTPClientResponse) { body = response.body.makeAsyncIterator() }

    /// The next event; nil when the server has closed the stream.
    ///
    /// - Throws: the error the server put into the stream; whatever broke the connection.
    mutating func next() async throws -> ServerSentEvent? {
        while position == ready.count {
            ready.removeAll(keepingCapacity: true)
            position = 0
            guard let piece = try await body.next() else { return nil }
            try piece.withUnsafeReadableBytes { bytes in try parser.feed(bytes) { ready.append($0) } }
        }
        defer { position += 1 }
        let event = ready[position]
        if event.name == "error" { throw Self.error(event.data) }
        return event
    }

    private static func error(_ data: [UInt8]) -> MartletError {
        let decoder = JSONDecoder()
        if let detail = (try? decoder.decode(ErrorBody.self, from: Data(data)))?.error
            ?? (try? decoder.decode(ErrorBody.Detail.self, from: Data(data)))
        {
            return ErrorAnswer.error(detail)
        }
        return MartletError(.internal, "event stream: \(String(decoding: data.prefix(200), as: UTF8.self))")
    }
}

/// A stream of values the server sends as they happen. It ends when the server ends it; it is not taken up again.
public struct APIEventStream<Element: Sendable>: AsyncSequence, Sendable {
    let transport: HTTPTransport
    let call: APICall
    let decode: @Sendable (_ name: String, _ data: Data) throws -> Element

    init(
        _ transport: HTTPTransport, _ call: APICall,
        decode: @escaping @Sendable (_ name: String, _ data: Data) throws -> Element
    ) {
        self.transport = transport
        self.call = call
        self.decode = decode
    }

    init(_ transport: HTTPTransport, _ call: APICall) where Element: Decodable {
        self.init(transport, call) { _, data in try JSONDecoder().decode(Element.self, from: data) }
    }

    /// Reads the stream; each iterator is a request of its own.
    public struct AsyncIterator: AsyncIteratorProtocol {
        let transport: HTTPTransport
        let call: APICall
        let decode: @Sendable (_ name: String, _ data: Data) throws -> Element
        var reader: EventStreamReader?

        public mutating func next() async throws -> Element? {
            do {
                if reader == nil { reader = EventStreamReader(try await transport.send(call)) }
                guard let event = try await reader?.next() else { return nil }
                return try decode(event.name, Data(event.data))
            } catch let error as DecodingError {
                throw MartletError(.internal, "event stream: an event is not what this client knows: \(error)")
            } catch {
                throw transport.translate(error, call)
            }
        }
    }

    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(transport: transport, call: call, decode: decode) }
}
