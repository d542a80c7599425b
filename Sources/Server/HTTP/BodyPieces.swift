import ControlPlane
import HTTPTypes
import Hummingbird
import NIOCore
import SandboxModel
import Synchronization

/// A request's body of any size, handed from the task that reads it to the one that asks for the next piece.
final class BodyPieces: Sendable {
    private let channel = BoundedChannel<ByteBuffer>(capacity: 4)
    /// Pieces that came together with one already handed out, last one first; asked for by one task only.
    private let waiting = Mutex<[ByteBuffer]>([])

    /// Reads the body to its end, or until nobody takes any more.
    func fill(from request: Request) async {
        let announced = request.headers[.contentLength].flatMap { Int($0) }
        var received = 0
        do {
            for try await buffer in request.body {
                received += buffer.readableBytes
                try await channel.send(buffer)
            }
            if let announced, received < announced { throw MartletError.invalid("body", "was cut off") }
            channel.finish()
        } catch {
            channel.finish(throwing: error)
        }
    }

    /// The next piece; nil at the end.
    func next() async throws -> [UInt8]? {
        if waiting.withLock({ $0.isEmpty }) {
            guard let batch = try await channel.nextBatch() else { return nil }
            waiting.withLock { $0 = batch.reversed() }
        }
        return waiting.withLock { $0.popLast() }.map { Array($0.readableBytesView) }
    }

    /// Lets the reader go: no more is asked for.
    func abandon() { channel.finish() }
}
