import NIOCore
import SandboxModel

/// A question for a name server, and how its answer is read.
struct NameServerQuestion<Answer: Sendable>: Sendable {
    /// The message, given an id.
    var message: @Sendable (_ id: UInt16) -> [UInt8]
    /// Reads an answer; throws when it is not one to this question.
    var read: @Sendable (_ bytes: [UInt8], _ id: UInt16) throws -> Answer
    /// Whether there is more, to be had over TCP.
    var isTruncated: @Sendable (Answer) -> Bool
}

extension NameServerQuestion<DNSResponse> {
    /// For the addresses of a name.
    static func addresses(of name: String) -> NameServerQuestion {
        NameServerQuestion(
            message: { DNSQuery.outgoing(name, id: $0) }, read: { try DNSResponse($0, to: name, id: $1) },
            isTruncated: { $0.isTruncated })
    }
}

extension NameServerQuestion<DNSRecords> {
    /// For other records of a name.
    static func records(of name: String, type: UInt16) -> NameServerQuestion {
        NameServerQuestion(
            message: { DNSQuery.outgoing(name, type: type, id: $0) },
            read: { try DNSRecords($0, to: name, type: type, id: $1) }, isTruncated: { $0.isTruncated })
    }
}

/// One question on its way over UDP: what is not the answer to it is not heard.
final class NameServerDatagram<Answer: Sendable>: ChannelInboundHandler {
    typealias InboundIn = AddressedEnvelope<ByteBuffer>

    private let question: NameServerQuestion<Answer>
    private let id: UInt16
    private let server: SocketAddress
    private let answer: EventLoopPromise<Answer>

    init(_ question: NameServerQuestion<Answer>, id: UInt16, server: SocketAddress, answer: EventLoopPromise<Answer>) {
        self.question = question
        self.id = id
        self.server = server
        self.answer = answer
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let envelope = unwrapInboundIn(data)
        guard envelope.remoteAddress == server,
            let read = try? question.read(Array(envelope.data.readableBytesView), id)
        else { return }
        answer.succeed(read)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        answer.fail(error)
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) { answer.fail(ChannelError.eof) }
}

/// The same over TCP, where a length goes before each message (RFC 1035 section 4.2.2).
final class NameServerStream<Answer: Sendable>: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let question: NameServerQuestion<Answer>
    private let id: UInt16
    private let answer: EventLoopPromise<Answer>
    private var received: [UInt8] = []

    init(_ question: NameServerQuestion<Answer>, id: UInt16, answer: EventLoopPromise<Answer>) {
        self.question = question
        self.id = id
        self.answer = answer
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        received.append(contentsOf: unwrapInboundIn(data).readableBytesView)
        guard received.count >= 2 else { return }
        let length = Int(received[0]) << 8 | Int(received[1])
        guard received.count >= 2 + length else { return }
        do {
            answer.succeed(try question.read(Array(received[2..<2 + length]), id))
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
