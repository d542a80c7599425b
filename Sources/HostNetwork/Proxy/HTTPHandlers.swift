import NIOCore
import NIOHTTP1
import NIOTLS

/// The guest's end of a relay of HTTP.
final class HTTPGuestHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private let relay: HTTPRelay
    private var context: ChannelHandlerContext?

    init(relay: HTTPRelay) { self.relay = relay }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }
    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    func write(_ part: HTTPServerResponsePart) { context?.write(wrapOutboundOut(part), promise: nil) }
    func flush() { context?.flush() }
    func read() { context?.read() }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) { relay.receive(unwrapInboundIn(data)) }
    func channelReadComplete(context: ChannelHandlerContext) { relay.requestsReceived() }
    func channelWritabilityChanged(context: ChannelHandlerContext) { relay.guestWritabilityChanged() }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case ChannelEvent.inputClosed: relay.guestEnded()
        case TLSUserEvent.handshakeCompleted: relay.guestHandshakeCompleted()
        default: break
        }
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { relay.guestFailed(error) }
}

/// The server's end of a relay of HTTP.
final class HTTPUpstreamHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPClientResponsePart
    typealias OutboundOut = HTTPClientRequestPart

    private let relay: HTTPRelay
    private var context: ChannelHandlerContext?

    init(relay: HTTPRelay) { self.relay = relay }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }
    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    func write(_ part: HTTPClientRequestPart) { context?.write(wrapOutboundOut(part), promise: nil) }
    func flush() { context?.flush() }
    func read() { context?.read() }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) { relay.receive(unwrapInboundIn(data)) }
    func channelReadComplete(context: ChannelHandlerContext) { relay.answersReceived() }
    func channelWritabilityChanged(context: ChannelHandlerContext) { relay.requestsReceived() }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case ChannelEvent.inputClosed: relay.upstreamEnded(nil)
        case TLSUserEvent.handshakeCompleted: relay.upstreamHandshakeCompleted()
        default: break
        }
        context.fireUserInboundEventTriggered(event)
    }

    func channelInactive(context: ChannelHandlerContext) {
        relay.upstreamEnded(nil)
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { relay.upstreamEnded(error) }
}
