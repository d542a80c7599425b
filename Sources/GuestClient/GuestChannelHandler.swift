import GuestProtocol
import Logging
import NIOCore
import SandboxModel

/// Frames on one side, streams on the other. Lives on its channel's event loop only.
final class GuestChannelHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let nonce: [UInt8]
    private let takeover: Bool
    private let synchronized: EventLoopPromise<Void>
    private let logger: Logger
    private var decoder: FrameDecoder
    private var isSynchronized = false
    private var streams: [UInt32: WeakStream] = [:]
    private var deadlines: [UInt32: Scheduled<Void>] = [:]
    private var context: ChannelHandlerContext?
    private var failure: MartletError?
    private var flushScheduled = false
    /// Frames that wait for the gate to open; nil while it is open.
    private var waiting: [Frame]?

    init(nonce: [UInt8], takeover: Bool, synchronized: EventLoopPromise<Void>, logger: Logger) {
        self.nonce = nonce
        decoder = FrameDecoder(hunting: true, nonce: nonce)
        self.takeover = takeover
        self.synchronized = synchronized
        self.logger = logger
    }

    // MARK: Channel

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        if context.channel.isActive { begin(context) }
    }

    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    func channelActive(context: ChannelHandlerContext) {
        begin(context)
        context.fireChannelActive()
    }

    private var begun = false
    private func begin(_ context: ChannelHandlerContext) {
        guard !begun else { return }
        begun = true
        var buffer = context.channel.allocator.buffer(capacity: SyncMarker.length)
        if takeover { buffer.writeRepeatingByte(0, count: SyncMarker.flushLength) }
        buffer.writeBytes(SyncMarker.bytes(nonce: nonce))
        context.writeAndFlush(wrapOutboundOut(buffer), promise: nil)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        unwrapInboundIn(data).withUnsafeReadableBytes { decoder.append($0) }
        while let item = decoder.next() {
            switch item {
            case .sync(let nonce):
                // Another nonce is the answer to an earlier connection's marker.
                guard nonce == self.nonce else { continue }
                isSynchronized = true
                synchronized.succeed(())
            case .lost:
                if isSynchronized { return close(over: GuestViolation("bytes that are no frame")) }
            case .frame(let frame):
                guard isSynchronized else { continue }
                do {
                    try receive(frame)
                } catch {
                    return close(over: error)
                }
            }
        }
    }

    private func receive(_ frame: Frame) throws(GuestViolation) {
        guard let stream = streams[frame.stream]?.value else {
            // Late answers to a stream we cancelled are normal.
            if frame.kind == .end || frame.kind == .fail { forget(frame.stream) }
            return
        }
        try stream.receive(frame)
        if frame.kind == .end || frame.kind == .fail { forget(frame.stream) }
    }

    private func forget(_ id: UInt32) {
        streams[id] = nil
        deadlines.removeValue(forKey: id)?.cancel()
    }

    private func close(over violation: GuestViolation) {
        logger.warning("guest broke the protocol", metadata: ["what": "\(violation.what)"])
        failure = MartletError(.unavailable, "guest: it broke the protocol: \(violation.what)")
        context?.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        let error = failure ?? MartletError(.unavailable, "guest: the connection to it is closed")
        failure = error
        synchronized.fail(error)
        for deadline in deadlines.values { deadline.cancel() }
        deadlines.removeAll()
        let open = streams.values
        streams.removeAll()
        for stream in open { stream.value?.fail(error) }
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        failure = failure ?? MartletError(.unavailable, "guest: the connection to it failed: \(error)")
        context.close(promise: nil)
    }

    // MARK: Streams

    func open(_ stream: GuestStream, _ frame: Frame) {
        guard let context, context.channel.isActive else {
            stream.fail(failure ?? MartletError(.unavailable, "guest: the connection to it is closed"))
            return
        }
        streams[stream.id] = WeakStream(stream)
        send(frame)
    }

    func deadline(for stream: GuestStream, in time: TimeAmount, operation: Operation) {
        guard streams[stream.id] != nil, let context else { return }
        let id = stream.id
        let weakStream = WeakStream(stream)
        let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
        deadlines[id] = context.eventLoop.scheduleTask(in: time) {
            guard let stream = weakStream.value else { return }
            bound.value.release(id)
            stream.fail(MartletError(.timeout, "guest: no answer to \(operation) in time"))
        }
    }

    func liftDeadline(_ id: UInt32) { deadlines.removeValue(forKey: id)?.cancel() }

    func release(_ id: UInt32) {
        guard streams[id] != nil else { return }
        forget(id)
        send(Frame(stream: id, kind: .cancel))
    }

    /// Keeps all frames back from now on. The guest has taken every byte once it answers the request before this, and
    /// stands between two frames then: so does a copy that is made of it.
    func closeGate() { if waiting == nil { waiting = [] } }

    /// Lets frames pass again, those that waited first.
    func openGate() {
        let frames = waiting ?? []
        waiting = nil
        for frame in frames { send(frame) }
    }

    func send(_ frame: Frame) {
        guard let context, context.channel.isActive else { return }
        guard waiting == nil else {
            waiting?.append(frame)
            return
        }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(frame.payload.count + Frame.overhead)
        frame.encode(into: &bytes)
        context.write(wrapOutboundOut(context.channel.allocator.buffer(bytes: bytes)), promise: nil)
        guard !flushScheduled else { return }
        // Frames of one turn of the loop leave in one system call.
        flushScheduled = true
        let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
        context.eventLoop.execute {
            bound.value.flushScheduled = false
            bound.value.context?.flush()
        }
    }
}
