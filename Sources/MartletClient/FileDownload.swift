import AsyncHTTPClient
import NIOCore

/// A file coming out of a sandbox: its size and permission bits, and its bytes at the caller's pace.
///
/// It can be iterated once.
public struct FileDownload: AsyncSequence, Sendable {
    /// The file's size, if the server told it.
    public let size: UInt64?
    /// Permission bits, if the server told them.
    public let mode: UInt32?
    let transport: HTTPTransport
    let call: APICall
    let body: HTTPClientResponse.Body

    /// Reads the bytes.
    public struct AsyncIterator: AsyncIteratorProtocol {
        let transport: HTTPTransport
        let call: APICall
        var body: HTTPClientResponse.Body.AsyncIterator

        public mutating func next() async throws -> ByteBuffer? {
            do {
                return try await body.next()
            } catch {
                throw transport.translate(error, call)
            }
        }
    }

    public func makeAsyncIterator() -> AsyncIterator {
        AsyncIterator(transport: transport, call: call, body: body.makeAsyncIterator())
    }
}
