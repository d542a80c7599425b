import NIOCore
import SandboxModel

/// One question on its way to a name server: an answer that is not one to it is not heard.
final class NameServerQuestion: ChannelInboundHandler {
    typealias InboundIn = AddressedEnvelope<ByteBuffer>

    private let name: String
    private let id: UInt16
    private let server: SocketAddress
    private let answer: EventLoopPromise<DNSResponse>

    init(name: String, id: UInt16, server: SocketAddress, answer: EventLoopPromise<DNSResponse>) {
        self.name = name
        self.id = id
        self.server = server
        self.answer = answer
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let envelope = unwrapInboundIn(data)
        guard envelope.remoteAddress == server,
            let response = try? DNSResponse(Array(envelope.data.readableBytesView), to: name, id: id)
        else { return }
        answer.succeed(response)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        answer.fail(error)
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) { answer.fail(ChannelError.eof) }
}

/// The same over TCP, where a length goes before each message (RFC 1035 section 4.2.2).
final class NameServerStreamQuestion: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let name: String
    private let id: UInt16
    private let answer: EventLoopPromise<DNSResponse>
    private var received: [UInt8] = []

    init(name: String, id: UInt16, answer: EventLoopPromise<DNSResponse>) {
        self.name = name
        self.id = id
        self.answer = answer
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        received.append(contentsOf: unwrapInboundIn(data).readableBytesView)
        guard received.count >= 2 else { return }
        let length = Int(received[0]) << 8 | Int(received[1])
        guard received.count >= 2 + length else { return }
        do {
            answer.succeed(try DNSResponse(Array(received[2..<2 + length]), to: name, id: id))
        } catch {
            answer.fail(error)
        }
        context.close(promise: nil)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        answer.fail(error)
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) { answer.fail(ChannelError.eof) }
}
