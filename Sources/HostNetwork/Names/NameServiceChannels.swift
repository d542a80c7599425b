import NIOCore

/// The name service over UDP.
final class NameServiceDatagrams: ChannelInboundHandler {
    typealias InboundIn = AddressedEnvelope<ByteBuffer>
    typealias OutboundOut = AddressedEnvelope<ByteBuffer>

    /// What every client takes without saying so.
    static let limit = 512

    private let names: NameService

    init(names: NameService) { self.names = names }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let envelope = unwrapInboundIn(data)
        let channel = context.channel
        names.handle(Array(envelope.data.readableBytesView), transport: "udp", limit: NameServiceDatagrams.limit) {
            let answer = AddressedEnvelope(remoteAddress: envelope.remoteAddress, data: ByteBuffer(bytes: $0))
            channel.writeAndFlush(answer, promise: nil)
        }
    }

    /// A datagram that could not be sent or read is no reason to stop answering.
    func errorCaught(context: ChannelHandlerContext, error: any Error) {}
}

/// The name service over TCP: a length before each message (RFC 1035 section 4.2.2), one question at a time.
final class NameServiceStream: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    static let idle = TimeAmount.seconds(10)
    static let maxConnections = 32
    /// Longest question: a name, its type and an OPT record with some options.
    static let maxQuestion = 4096

    private let names: NameService
    private var received = ByteBuffer()
    private var isAnswering = false
    private var timer: Scheduled<Void>?

    init(names: NameService) { self.names = names }

    func channelActive(context: ChannelHandlerContext) {
        restartTimer(context)
        context.read()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var buffer = unwrapInboundIn(data)
        received.writeBuffer(&buffer)
    }

    func channelReadComplete(context: ChannelHandlerContext) { next(context) }

    private func next(_ context: ChannelHandlerContext) {
        guard !isAnswering else { return }
        guard let length = received.getInteger(at: received.readerIndex, as: UInt16.self) else { return context.read() }
        guard (12...NameServiceStream.maxQuestion).contains(Int(length)) else { return context.close(promise: nil) }
        guard received.readableBytes >= 2 + Int(length) else { return context.read() }
        received.moveReaderIndex(forwardBy: 2)
        let message = received.readBytes(length: Int(length)) ?? []
        received.discardReadBytes()
        isAnswering = true
        restartTimer(context)
        let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
        names.handle(message, transport: "tcp", limit: DNSReader.maxMessage) { answer in
            var frame = ByteBuffer(integer: UInt16(answer.count))
            frame.writeBytes(answer)
            let context = bound.value
            guard context.channel.isActive else { return }
            context.writeAndFlush(NIOAny(frame), promise: nil)
            // Not from within itself, however many questions came at once.
            context.eventLoop.assumeIsolated().execute {
                self.isAnswering = false
                if context.channel.isActive { self.next(context) }
            }
        }
    }

    private func restartTimer(_ context: ChannelHandlerContext) {
        timer?.cancel()
        let channel = context.channel
        timer = context.eventLoop.scheduleTask(in: NameServiceStream.idle) { channel.close(promise: nil) }
    }

    func channelInactive(context: ChannelHandlerContext) { timer?.cancel() }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
