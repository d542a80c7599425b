import GuestProtocol
import SandboxModel
import Synchronization

/// A connection to a service in a guest: bytes both ways, each end closed on its own.
///
/// One task reads, one writes. Letting go of it, or `close`, resets the service's connection unless both ends were
/// closed in order.
package final class GuestSocket: Sendable {
    private let stream: GuestStream
    private let isFinished = Atomic<Bool>(false)

    fileprivate init(stream: GuestStream) { self.stream = stream }

    /// The next bytes the service sent; nil once it has said that it sends no more.
    ///
    /// - Throws: `unavailable` with `details.reason` `connection_reset` when the service broke off, `unavailable` when the
    ///   guest is gone; `CancellationError`.
    package func read() async throws -> [UInt8]? {
        guard !isFinished.load(ordering: .relaxed) else { return nil }
        guard let element = try await stream.next() else { return nil }
        switch element {
        case .data(_, let bytes): return bytes
        case .end: break
        case .reply(let payload):
            guard (try? ConnectionEvent(decoding: payload))?.kind == .finished else {
                stream.cancel()
                throw MartletError(.unavailable, "guest: it sent an event of a connection that cannot be read")
            }
        }
        isFinished.store(true, ordering: .relaxed)
        return nil
    }

    /// Sends bytes; waits while the service does not take what came before.
    ///
    /// - Throws: `failed_precondition` when the connection is over; what `read` throws.
    package func write(_ bytes: some Collection<UInt8> & Sendable) async throws { try await stream.send(bytes) }

    /// Says that no more is sent; the service may still answer.
    package func finishWriting() { stream.finish() }

    /// Breaks the connection off.
    package func close() { stream.cancel() }
}

extension GuestConnection {
    /// Connects to a TCP service in the guest, wherever in it that listens.
    ///
    /// - Parameter window: bytes the service may be ahead of the reader.
    /// - Throws: `unavailable` with `details.reason` `port_closed` when nothing listens on the port, `resource_exhausted`
    ///   when too many connections are open, `unsupported` from an agent that is too old, `timeout`.
    package func connect(
        port: UInt16, window: Int = 262_144, timeout: Duration = .seconds(15)
    ) async throws -> GuestSocket {
        let stream = open(.connect, Connect(port: port).encoded, window: window, timeout: timeout)
        let element = try await stream.next()
        guard case .reply(let payload) = element, let event = try? ConnectionEvent(decoding: payload),
            event.kind == .opened
        else {
            stream.cancel()
            throw MartletError(.unavailable, "guest: it did not say whether it connected")
        }
        liftDeadline(of: stream)
        return GuestSocket(stream: stream)
    }
}
