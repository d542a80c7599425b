import LinuxSystem
import NIOCore
import NIOHTTP1
import NIOPosix
import SandboxModel

/// One request and its answer over a connection of its own to a unix socket.
struct HTTPExchange: Sendable {
    struct Answer: Sendable, Equatable {
        var status: Int
        var body: [UInt8]
    }

    /// More than any honest answer has, its head included.
    static let answerLimit = 262_144

    let directory: String
    let socket: String
    let group: any EventLoopGroup

    /// - Parameter object: what is asked for, in errors.
    /// - Throws: `unavailable` when the process does not answer, `timeout` when not in time, `too_large` when with too
    ///   much, `internal` when with what is no HTTP.
    func send(
        _ method: String, _ path: String, _ body: [UInt8]?, object: String, timeout: Duration
    ) async throws -> Answer {
        let descriptor: Descriptor
        do {
            descriptor = try UnixSocket.connect(in: try Descriptor.openDirectory(directory), name: socket)
        } catch {
            throw MartletError(.unavailable, "firecracker: \(object): \(error)")
        }
        let loop = group.next()
        let promise = loop.makePromise(of: Answer.self)
        let channel: any Channel
        do {
            channel = try await ClientBootstrap(group: loop)
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        let pipeline = channel.pipeline.syncOperations
                        let answer = AnswerHandler(object: object, promise: promise)
                        try pipeline.addHandler(ByteLimit(limit: HTTPExchange.answerLimit))
                        try pipeline.addHTTPClientHandlers()
                        try pipeline.addHandler(answer)
                    }
                }
                .withConnectedSocket(descriptor.release()).get()
        } catch {
            promise.fail(error)
            throw MartletError(.unavailable, "firecracker: \(object): \(error)")
        }
        let deadline = loop.scheduleTask(in: .nanoseconds(timeout.inNanoseconds)) {
            promise.fail(MartletError(.timeout, "firecracker: \(object): no answer in time"))
            channel.close(promise: nil)
        }
        defer {
            deadline.cancel()
            channel.close(promise: nil)
        }
        return try await withTaskCancellationHandler {
            HTTPExchange.write(method, path, body, to: channel)
            return try await promise.futureResult.get()
        } onCancel: {
            promise.fail(CancellationError())
            channel.close(promise: nil)
        }
    }

    private static func write(_ method: String, _ path: String, _ body: [UInt8]?, to channel: any Channel) {
        var head = HTTPRequestHead(version: .http1_1, method: HTTPMethod(rawValue: method), uri: path)
        head.headers.add(name: "Host", value: "localhost")
        head.headers.add(name: "Accept", value: "application/json")
        if let body {
            head.headers.add(name: "Content-Type", value: "application/json")
            head.headers.add(name: "Content-Length", value: "\(body.count)")
        }
        channel.write(HTTPClientRequestPart.head(head), promise: nil)
        if let body {
            channel.write(HTTPClientRequestPart.body(.byteBuffer(ByteBuffer(bytes: body))), promise: nil)
        }
        channel.writeAndFlush(HTTPClientRequestPart.end(nil), promise: nil)
    }
}

/// Lets so many bytes through, and fails after that.
private final class ByteLimit: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    struct Exceeded: Error {}
    private var left: Int

    init(limit: Int) { left = limit }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        left -= unwrapInboundIn(data).readableBytes
        guard left >= 0 else {
            context.fireErrorCaught(Exceeded())
            return
        }
        context.fireChannelRead(data)
    }
}

/// Puts one answer together; whatever comes after it is nobody's.
private final class AnswerHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPClientResponsePart

    private let object: String
    private let promise: EventLoopPromise<HTTPExchange.Answer>
    private var answer: HTTPExchange.Answer?

    init(object: String, promise: EventLoopPromise<HTTPExchange.Answer>) {
        self.object = object
        self.promise = promise
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head):
            // What is said in between (100 Continue) is no answer.
            if head.status.code >= 200 { answer = HTTPExchange.Answer(status: Int(head.status.code), body: []) }
        case .body(let part): answer?.body.append(contentsOf: part.readableBytesView)
        case .end:
            guard let answer else { return }
            promise.succeed(answer)
            context.close(promise: nil)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        promise.fail(MartletError(.unavailable, "firecracker: \(object): the connection ended before its answer"))
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        let failure =
            switch error {
            case is ByteLimit.Exceeded:
                MartletError(.tooLarge, "firecracker: \(object): its answer is too long")
            case is HTTPParserError: MartletError(.internal, "firecracker: \(object): its answer is no HTTP")
            default: MartletError(.unavailable, "firecracker: \(object): \(error)")
            }
        promise.fail(failure)
        context.close(promise: nil)
    }
}
