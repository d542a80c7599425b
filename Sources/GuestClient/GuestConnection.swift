import GuestProtocol
import Logging
import NIOCore
import NIOPosix
import SandboxModel
import Synchronization

/// The host's end of the guest protocol over one connected descriptor.
///
/// Everything the guest sends is bounded and checked; a violation closes the connection and fails every stream with
/// `unavailable`. Safe to use from any task.
package final class GuestConnection: Sendable {
    private let channel: any Channel
    private let handler: NIOLoopBound<GuestChannelHandler>
    private let nextStream = Atomic<UInt32>(1)
    private let synchronized: EventLoopFuture<Void>

    private init(
        channel: any Channel, handler: NIOLoopBound<GuestChannelHandler>, synchronized: EventLoopFuture<Void>
    ) {
        self.channel = channel
        self.handler = handler
        self.synchronized = synchronized
    }

    /// Takes over a connected stream socket and starts the protocol on it. Requests may be made at once; they are
    /// answered when the guest runs and has agreed on the start of the stream.
    ///
    /// - Parameters:
    ///   - descriptor: owned from now on.
    ///   - takeover: true when an earlier connection may have been cut off in the middle of a frame.
    package static func start(
        descriptor: Int32, takeover: Bool, group: any EventLoopGroup, logger: Logger
    ) async throws -> GuestConnection {
        try await start(takeover: takeover, group: group, logger: logger) { loop, initialize in
            ClientBootstrap(group: loop)
                .channelOption(.writeBufferWaterMark, value: waterMark)
                .channelInitializer(initialize)
                .withConnectedSocket(descriptor)
        }
    }

    /// As above, with a pipe for each direction.
    ///
    /// - Parameters:
    ///   - reading: where the guest's bytes come from; owned from now on.
    ///   - writing: where those for the guest go; owned from now on.
    package static func start(
        reading: Int32, writing: Int32, takeover: Bool, group: any EventLoopGroup, logger: Logger
    ) async throws -> GuestConnection {
        try await start(takeover: takeover, group: group, logger: logger) { loop, initialize in
            NIOPipeBootstrap(group: loop)
                .channelOption(.writeBufferWaterMark, value: waterMark)
                .channelInitializer(initialize)
                .takingOwnershipOfDescriptors(input: reading, output: writing)
        }
    }

    private static let waterMark = ChannelOptions.Types.WriteBufferWaterMark(low: 256 << 10, high: 1 << 20)

    private static func start(
        takeover: Bool, group: any EventLoopGroup, logger: Logger,
        connect: (any EventLoop, @escaping @Sendable (any Channel) -> EventLoopFuture<Void>) ->
            EventLoopFuture<any Channel>
    ) async throws -> GuestConnection {
        let nonce = (0..<SyncMarker.nonceLength).map { _ in UInt8.random(in: .min ... .max) }
        let loop = group.next()
        let promise = loop.makePromise(of: Void.self)
        let channel: any Channel
        do {
            channel = try await connect(loop) { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(
                        GuestChannelHandler(nonce: nonce, takeover: takeover, synchronized: promise, logger: logger))
                }
            }.get()
        } catch {
            promise.fail(error)
            throw MartletError(.unavailable, "connect to the guest: \(error)")
        }
        let handler = try await channel.eventLoop.submit {
            NIOLoopBound(
                try channel.pipeline.syncOperations.handler(type: GuestChannelHandler.self),
                eventLoop: channel.eventLoop)
        }.get()
        return GuestConnection(channel: channel, handler: handler, synchronized: promise.futureResult)
    }

    /// Returns once the guest has answered the marker: the stream's start is agreed.
    package func waitUntilSynchronized() async throws { try await synchronized.get() }

    /// Completes when the connection is gone.
    package var closed: EventLoopFuture<Void> { channel.closeFuture }

    /// Whether the connection still stands.
    package var isOpen: Bool { channel.isActive }

    /// Ends the connection; every stream fails with `unavailable`.
    package func close() { channel.close(promise: nil) }

    /// Starts an operation.
    ///
    /// - Parameters:
    ///   - window: bytes of data the guest may be ahead of the consumer.
    ///   - timeout: the stream fails with `timeout` after this long, whatever it did before; nil waits for ever.
    package func open(
        _ operation: Operation, _ body: [UInt8] = [], window: Int = 262_144, timeout: Duration? = nil
    ) -> GuestStream {
        let id = nextStream.wrappingAdd(1, ordering: .relaxed).oldValue
        let stream = GuestStream(id: id, window: window, connection: self)
        let frame = Frame(
            stream: id, kind: .open,
            payload: OpenRequest(operation, window: UInt32(clamping: window), body: body).encoded)
        let weakStream = WeakStream(stream)
        onLoop { handler in
            // Holding once more is between frames as well, and must not wait for itself; a thaw lets programs go, too.
            if operation == .release || operation == .hold || operation == .thaw { handler.openGate() }
            guard let stream = weakStream.value else { return }
            handler.open(stream, frame)
            if operation == .hold { handler.closeGate() }
            if let timeout {
                handler.deadline(for: stream, in: TimeAmount.nanoseconds(timeout.inNanoseconds), operation: operation)
            }
        }
        return stream
    }

    /// Makes a request with one answer.
    package func call<Response: WireMessage>(
        _ operation: Operation, _ body: [UInt8] = [], timeout: Duration = .seconds(30),
        as: Response.Type = Response.self
    ) async throws -> Response {
        let payload = try await callForPayload(operation, body, timeout: timeout)
        do {
            return try Response(decoding: payload)
        } catch {
            throw MartletError(.unavailable, "guest: its answer to \(operation) cannot be read: \(error.what)")
        }
    }

    /// Makes a request whose answer says nothing more than that it is done.
    package func callForPayload(
        _ operation: Operation, _ body: [UInt8] = [], timeout: Duration = .seconds(30)
    ) async throws -> [UInt8] {
        let stream = open(operation, body, timeout: timeout)
        while let element = try await stream.next() {
            if case .end(let payload) = element { return payload }
        }
        throw MartletError(.unavailable, "guest: no answer to \(operation)")
    }

    func send(_ frame: Frame) { onLoop { $0.send(frame) } }

    /// Lets a stream go on for as long as it takes: it has begun in time.
    func liftDeadline(of stream: GuestStream) {
        let id = stream.id
        onLoop { $0.liftDeadline(id) }
    }

    func release(stream id: UInt32) { onLoop { $0.release(id) } }

    private func onLoop(_ body: @escaping @Sendable (GuestChannelHandler) -> Void) {
        let handler = handler
        if channel.eventLoop.inEventLoop {
            body(handler.value)
        } else {
            channel.eventLoop.execute { body(handler.value) }
        }
    }
}

/// Lets the loop hold a stream without keeping it alive, so that a consumer's leaving cancels it.
final class WeakStream: Sendable {
    private let storage: Mutex<Reference>
    private struct Reference { weak var stream: GuestStream? }

    init(_ stream: GuestStream) { storage = Mutex(Reference(stream: stream)) }
    var value: GuestStream? { storage.withLock { $0.stream } }
}
