import MartletAPI
import NIOCore
import SandboxModel

/// Asks for the tunnel and waits for the answer, then leaves the connection to it.
final class TunnelHandshake: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private static let maxBytes = 1 << 20

    private let request: ByteBuffer
    private let name: String
    private let promise: EventLoopPromise<NIOAsyncChannel<ByteBuffer, ByteBuffer>>
    private var answer = ByteBuffer()
    private var isOver = false

    init(request: ByteBuffer, name: String, promise: EventLoopPromise<NIOAsyncChannel<ByteBuffer, ByteBuffer>>) {
        self.request = request
        self.name = name
        self.promise = promise
    }

    func handlerAdded(context: ChannelHandlerContext) {
        if context.channel.isActive { context.writeAndFlush(wrapOutboundOut(request), promise: nil) }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        // A connection that never came about says so itself; this promise is not waited for then.
        if !isOver { promise.fail(ChannelError.alreadyClosed) }
    }

    func channelActive(context: ChannelHandlerContext) {
        context.writeAndFlush(wrapOutboundOut(request), promise: nil)
        context.fireChannelActive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if isOver { return context.fireChannelRead(data) }
        answer.writeImmutableBuffer(unwrapInboundIn(data))
        guard let (status, length, end) = head() else {
            if answer.readableBytes > TunnelHandshake.maxBytes { refuse(context, 500) }
            return
        }
        if status == 101 {
            answer.moveReaderIndex(to: end)
            return open(context)
        }
        let whole = min(end - answer.readerIndex + (length ?? .max >> 1), TunnelHandshake.maxBytes)
        guard answer.readableBytes >= whole else { return }
        answer.moveReaderIndex(to: end)
        refuse(context, status)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if !isOver, let event = event as? ChannelEvent, event == .inputClosed { return ended(context) }
        context.fireUserInboundEventTriggered(event)
    }

    func channelInactive(context: ChannelHandlerContext) {
        if !isOver { ended(context) }
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard !isOver else { return context.fireErrorCaught(error) }
        isOver = true
        promise.fail(error)
        context.close(promise: nil)
    }

    /// The status, the body's length if it is told, and where the head ends; nil while it is not all there.
    private func head() -> (status: Int, length: Int?, end: Int)? {
        let view = answer.readableBytesView
        guard let end = view.firstRange(of: Array("\r\n\r\n".utf8))?.upperBound else { return nil }
        let lines = String(decoding: view[..<end], as: UTF8.self).split(separator: "\r\n")
        let status = lines.first?.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 500
        let length = lines.dropFirst().first { $0.lowercased().hasPrefix("content-length:") }
            .flatMap { Int($0.dropFirst(15).filter { $0 != " " }) }
        return (status, length.map { max(0, min($0, TunnelHandshake.maxBytes)) }, end)
    }

    private func open(_ context: ChannelHandlerContext) {
        isOver = true
        do {
            let channel = try NIOAsyncChannel<ByteBuffer, ByteBuffer>(
                wrappingChannelSynchronously: context.channel,
                configuration: .init(isOutboundHalfClosureEnabled: true))
            promise.succeed(channel)
        } catch {
            promise.fail(error)
            return context.close(promise: nil)
        }
        if answer.readableBytes > 0 {
            context.fireChannelRead(wrapInboundOut(answer))
            context.fireChannelReadComplete()
        }
        answer = ByteBuffer()
        context.pipeline.syncOperations.removeHandler(context: context, promise: nil)
    }

    /// The connection ended before there was a tunnel; what came of an answer may still say why.
    private func ended(_ context: ChannelHandlerContext) {
        guard let (status, _, end) = head() else {
            isOver = true
            promise.fail(
                MartletError(
                    .unavailable, "\(name): the connection broke off", details: ["reason": HTTPTransport.broken]))
            return context.close(promise: nil)
        }
        answer.moveReaderIndex(to: end)
        refuse(context, status)
    }

    private func refuse(_ context: ChannelHandlerContext, _ status: Int) {
        isOver = true
        promise.fail(ErrorAnswer.error(status: status, body: answer, call: name))
        context.close(promise: nil)
    }
}
