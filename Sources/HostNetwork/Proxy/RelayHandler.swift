import NIOCore

/// Passes bytes on to another channel, no faster than that takes them, and ends its side when this one ends.
final class RelayHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer

    private let flow: ProxyFlow
    private let peer: any Channel
    private var context: ChannelHandlerContext?
    private var held: HeldBytes
    private var isWaiting = false
    private var hasEnded = false
    /// Whether anything has come yet.
    private(set) var hasReceived = false
    /// The same for the other direction.
    weak var other: RelayHandler?

    init(flow: ProxyFlow, peer: any Channel) {
        self.flow = flow
        self.peer = peer
        held = HeldBytes(core: flow.core)
    }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func handlerRemoved(context: ChannelHandlerContext) {
        _ = held.set(0)
        self.context = nil
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        flow.touch()
        hasReceived = true
        peer.write(unwrapInboundIn(data), promise: nil)
        if !held.measure(peer) { flow.end(withReset: true) }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        peer.flush()
        proceed()
    }

    /// Reads on as soon as the peer takes more.
    func proceed() {
        guard !hasEnded, let context else { return }
        isWaiting = !peer.isWritable
        if !isWaiting { context.read() }
    }

    func peerWritabilityChanged() {
        guard peer.isWritable else { return }
        _ = held.set(0)
        if isWaiting { proceed() }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        other?.peerWritabilityChanged()
        context.fireChannelWritabilityChanged()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case ChannelEvent.inputClosed = event {
            hasEnded = true
            peer.closeAfterWriting(mode: .output)
        }
        context.fireUserInboundEventTriggered(event)
    }

    func channelInactive(context: ChannelHandlerContext) {
        if !flow.isOver { peer.closeAfterWriting() }
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { flow.end(withReset: true) }
}
