import ControlPlane
import NIOCore
import NIOHTTP1
import SandboxModel

/// One request that was taken out of a client's connection, and the way to answer it: what the handler on the connection's
/// loop and the task that serves it share.
///
/// Neither side runs ahead of the other: input is read from the client only as it is taken, and a write returns when the
/// bytes have left.
final class PreviewExchange: Sendable {
    typealias Input = NIOThrowingAsyncSequenceProducer<
        ByteBuffer, any Error, NIOAsyncSequenceProducerBackPressureStrategies.HighLowWatermark, InputDelegate
    >

    let head: HTTPRequestHead
    let decision: PreviewRouting.Decision
    let client: SocketAddress?
    /// Whether the client asks to speak another protocol; such a request has no body.
    let asksForUpgrade: Bool
    let requestID: String
    /// Opens when the client is not there any more.
    let hasLeft = Latch()
    /// What the client sends behind the head; after an upgrade, all of it. To be iterated once.
    let input: Input
    /// For the handler alone.
    let source: Input.Source
    private let eventLoop: any EventLoop
    private let handler: NIOLoopBound<PreviewHandler>

    /// On the handler's loop.
    init(
        head: HTTPRequestHead, decision: PreviewRouting.Decision, client: SocketAddress?, handler: PreviewHandler,
        eventLoop: any EventLoop
    ) {
        self.head = head
        self.decision = decision
        self.client = client
        self.eventLoop = eventLoop
        let hasBody =
            head.headers.contains(name: "transfer-encoding")
            || head.headers["content-length"].contains { $0.contains { $0 != "0" } }
        asksForUpgrade = HopByHop.asksForUpgrade(head) && !hasBody
        requestID = RandomID.make(prefix: "r")
        let bound = NIOLoopBound(handler, eventLoop: eventLoop)
        self.handler = bound
        let made = Input.makeSequence(
            elementType: ByteBuffer.self, failureType: (any Error).self,
            backPressureStrategy: .init(lowWatermark: 1, highWatermark: 4), finishOnDeinit: true,
            delegate: InputDelegate(handler: bound, eventLoop: eventLoop))
        input = made.sequence
        source = made.source
    }

    /// Sends bytes as they are; returns when they have left.
    func write(_ bytes: ByteBuffer) async throws {
        try await ask { handler, exchange, promise in handler.write(bytes, for: exchange, promise: promise) }
    }

    /// Answers that the protocol changes: from now on input is whatever the client sends.
    func upgrade(_ answer: ByteBuffer) async throws {
        try await ask { handler, exchange, promise in handler.upgrade(answer, for: exchange, promise: promise) }
    }

    /// Says that no more is sent; the client may still send.
    func finishOutput() async throws {
        try await ask { handler, exchange, promise in handler.finishOutput(for: exchange, promise: promise) }
    }

    /// The answer is whole; the connection goes on to the next request if it can.
    func complete(keepsAlive: Bool) {
        tell { handler, exchange in handler.complete(exchange, keepsAlive: keepsAlive) }
    }

    /// Cuts the connection: what was sent must not be taken for the whole.
    func abort() { tell { handler, exchange in handler.abort(exchange) } }

    private func tell(_ body: @escaping @Sendable (PreviewHandler, PreviewExchange) -> Void) {
        eventLoop.execute { [handler] in body(handler.value, self) }
    }

    private func ask(
        _ body: @escaping @Sendable (PreviewHandler, PreviewExchange, EventLoopPromise<Void>) -> Void
    ) async throws {
        try Task.checkCancellation()
        let promise = eventLoop.makePromise(of: Void.self)
        tell { handler, exchange in body(handler, exchange, promise) }
        // A client that does not read holds a write up for as long as it likes: only cutting it off ends that.
        try await withTaskCancellationHandler {
            try await promise.futureResult.get()
        } onCancel: {
            abort()
        }
    }

    /// Lets the handler read on once there is room.
    final class InputDelegate: NIOAsyncSequenceProducerDelegate, Sendable {
        private let handler: NIOLoopBound<PreviewHandler>
        private let eventLoop: any EventLoop

        init(handler: NIOLoopBound<PreviewHandler>, eventLoop: any EventLoop) {
            self.handler = handler
            self.eventLoop = eventLoop
        }

        func produceMore() { eventLoop.execute { [handler] in handler.value.inputIsWanted() } }
        func didTerminate() { produceMore() }
    }
}
