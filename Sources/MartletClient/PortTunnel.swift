import NIOCore
import SandboxModel

/// A raw TCP connection to a service in a sandbox: a sequence of the bytes it sends, to be iterated once, and a way to send
/// it some. Each end is closed on its own.
public struct PortTunnel: AsyncSequence, Sendable {
    private let channel: NIOAsyncChannel<ByteBuffer, ByteBuffer>
    private let inbound: NIOAsyncChannelInboundStream<ByteBuffer>

    init(channel: NIOAsyncChannel<ByteBuffer, ByteBuffer>, inbound: NIOAsyncChannelInboundStream<ByteBuffer>) {
        self.channel = channel
        self.inbound = inbound
    }

    /// Reads what the service sends, until it sends no more.
    public struct AsyncIterator: AsyncIteratorProtocol {
        var bytes: NIOAsyncChannelInboundStream<ByteBuffer>.AsyncIterator

        /// - Throws: `unavailable` when the connection broke off.
        public mutating func next() async throws -> ByteBuffer? {
            do {
                return try await bytes.next()
            } catch {
                throw PortTunnel.translated(error)
            }
        }
    }

    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(bytes: inbound.makeAsyncIterator()) }

    /// Sends bytes; returns when they have left this program, so that nothing piles up in it.
    ///
    /// - Throws: `unavailable` when the connection broke off.
    public func write(_ bytes: ByteBuffer) async throws {
        do {
            try await channel.channel.writeAndFlush(bytes)
        } catch {
            throw PortTunnel.translated(error)
        }
    }

    /// Says that no more is sent; the service may still answer.
    public func finishWriting() async throws {
        do {
            try await channel.channel.close(mode: .output)
        } catch {
            throw PortTunnel.translated(error)
        }
    }

    private static func translated(_ error: any Error) -> any Error {
        if error is CancellationError || error is MartletError { return error }
        return MartletError(
            .unavailable, "tunnel: the connection broke off: \(error)", details: ["reason": HTTPTransport.broken])
    }
}
