import NIOCore

/// A connection of the guest's until it is known what it speaks: keeps its first bytes and lets none of them out.
final class OpeningHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer

    private let flow: ProxyFlow
    private var context: ChannelHandlerContext?
    private var buffer = ByteBuffer()
    private var hasEnded = false
    private var isDecided = false
    private var isStarted = false
    private var held: HeldBytes
    /// What passes the server's first words on meanwhile.
    weak var relay: RelayHandler?

    init(flow: ProxyFlow) {
        self.flow = flow
        held = HeldBytes(core: flow.core)
    }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func handlerRemoved(context: ChannelHandlerContext) {
        _ = held.set(0)
        self.context = nil
    }

    func channelActive(context: ChannelHandlerContext) { flow.begin(self) }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var more = unwrapInboundIn(data)
        buffer.writeBuffer(&more)
        // No more is read than asked for, but for what has arrived when the guest ends its side.
        if isDecided || !isStarted, !held.set(buffer.readableBytes) { flow.end(withReset: true) }
    }

    func channelReadComplete(context: ChannelHandlerContext) { classifyIfDue() }

    /// Looks at what the guest says from now on, and at what it has said already: one that ends its side at once is
    /// read before it is known where it wants to go.
    func start() {
        isStarted = true
        classifyIfDue()
    }

    private func classifyIfDue() {
        if isStarted, !isDecided { classify() }
    }

    private func classify() {
        let bytes = Array(buffer.readableBytesView.prefix(FirstBytes.maxBytes))
        guard !bytes.isEmpty else { return hasEnded ? flow.endedSilently() : read() }
        let first = FirstBytes.classify(bytes)
        if first == .incomplete, !hasEnded, bytes.count < FirstBytes.maxBytes {
            flow.firstBytesBegan()
            return read()
        }
        isDecided = true
        flow.decide(first)
    }

    /// Nothing that comes is looked at any more: it is kept for whoever takes over.
    func markDecided() { isDecided = true }

    func read() { context?.read() }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard case ChannelEvent.inputClosed = event else { return context.fireUserInboundEventTriggered(event) }
        hasEnded = true
        classifyIfDue()
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        relay?.peerWritabilityChanged()
        context.fireChannelWritabilityChanged()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { flow.end(withReset: true) }

    /// Passes everything kept on to the handlers behind this one, and leaves.
    func handOver() {
        guard let context else { return }
        let kept = buffer
        buffer = ByteBuffer()
        if kept.readableBytes > 0 { context.fireChannelRead(NIOAny(kept)) }
        context.fireChannelReadComplete()
        if hasEnded { context.fireUserInboundEventTriggered(ChannelEvent.inputClosed) }
        context.pipeline.syncOperations.removeHandler(context: context, promise: nil)
    }
}
