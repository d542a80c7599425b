import NIOCore
import NIOPosix
import Synchronization

/// A server that answers the first bytes of a connection with very many, as fast as they are taken.
final class StreamServer: Sendable {
    let port: Int
    private let listener: any Channel
    private let count: Mutex<Int>
    private let stuck: EventLoopPromise<Void>

    /// Bytes that the kernel has taken so far.
    var written: Int { count.withLock { $0 } }

    private init(listener: any Channel, count: consuming Mutex<Int>, stuck: EventLoopPromise<Void>) {
        self.listener = listener
        self.count = count
        self.stuck = stuck
        port = listener.localAddress!.port!
    }

    static func start(bytes: Int, isHTTP: Bool) async throws -> StreamServer {
        let made = Mutex<StreamServer?>(nil)
        let loop = NIOSingletons.posixEventLoopGroup.next()
        let listener = try await ServerBootstrap(group: loop)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let server = made.withLock { $0 }!
                    try channel.pipeline.syncOperations.addHandler(
                        StreamHandler(total: bytes, isHTTP: isHTTP, server: server))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        let server = StreamServer(listener: listener, count: Mutex(0), stuck: loop.makePromise())
        made.withLock { $0 = server }
        return server
    }

    /// Waits until nothing has been taken for a while, or everything has.
    func waitUntilStuck() async throws { try await stuck.futureResult.get() }

    func stop() async {
        stuck.succeed()
        try? await listener.close().get()
    }

    fileprivate func note(_ bytes: Int) { count.withLock { $0 += bytes } }
    fileprivate func isStuck() { stuck.succeed() }
}

private final class StreamHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let total: Int
    private let isHTTP: Bool
    private let server: StreamServer
    private let piece = ByteBuffer(repeating: 120, count: 65_536)
    private var left = 0
    private var hasBegun = false
    private var lastWritten = -1

    init(total: Int, isHTTP: Bool, server: StreamServer) {
        self.total = total
        self.isHTTP = isHTTP
        self.server = server
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !hasBegun else { return }
        hasBegun = true
        left = total
        if isHTTP {
            let head = ByteBuffer(string: "HTTP/1.1 200 OK\r\nContent-Length: \(total)\r\nConnection: close\r\n\r\n")
            context.write(wrapOutboundOut(head), promise: nil)
        }
        pump(context)
        watch(context)
    }

    private func pump(_ context: ChannelHandlerContext) {
        while left > 0, context.channel.isWritable {
            left -= piece.readableBytes
            let (server, size) = (server, piece.readableBytes)
            context.writeAndFlush(wrapOutboundOut(piece)).whenSuccess { server.note(size) }
        }
        if left <= 0, left != .min {
            left = .min
            context.writeAndFlush(wrapOutboundOut(ByteBuffer())).assumeIsolated().whenComplete { _ in
                context.close(promise: nil)
            }
        }
    }

    private func watch(_ context: ChannelHandlerContext) {
        guard server.written != lastWritten else { return server.isStuck() }
        lastWritten = server.written
        context.eventLoop.assumeIsolated().scheduleTask(in: .milliseconds(500)) { self.watch(context) }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) { pump(context) }
    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}

/// A client that takes nothing beyond the first bytes until told to, and then counts.
final class StreamSink: Sendable {
    private let channel: any Channel
    private let first: EventLoopPromise<Void>
    private let end: EventLoopPromise<Int>

    var localPort: Int { channel.localAddress!.port! }

    private init(channel: any Channel, first: EventLoopPromise<Void>, end: EventLoopPromise<Int>) {
        self.channel = channel
        self.first = first
        self.end = end
    }

    static func connect(port: Int) async throws -> StreamSink {
        let loop = NIOSingletons.posixEventLoopGroup.next()
        let (first, end) = (loop.makePromise(of: Void.self), loop.makePromise(of: Int.self))
        let channel = try await ClientBootstrap(group: loop)
            .channelOption(.autoRead, value: false)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(SinkHandler(first: first, end: end))
                }
            }
            .connect(host: "127.0.0.1", port: port).get()
        return StreamSink(channel: channel, first: first, end: end)
    }

    func send(_ bytes: [UInt8]) async throws { try await channel.writeAndFlush(ByteBuffer(bytes: bytes)).get() }

    func waitForFirst() async throws {
        channel.read()
        try await first.futureResult.get()
    }

    func go() {
        channel.setOption(.autoRead, value: true).whenComplete { _ in }
        channel.read()
    }

    /// Bytes received when the connection is over.
    func waitForEnd() async throws -> Int { try await end.futureResult.get() }
}

private final class SinkHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let first: EventLoopPromise<Void>
    private let end: EventLoopPromise<Int>
    private var count = 0

    init(first: EventLoopPromise<Void>, end: EventLoopPromise<Int>) {
        self.first = first
        self.end = end
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        count += unwrapInboundIn(data).readableBytes
        first.succeed()
    }

    func channelInactive(context: ChannelHandlerContext) {
        first.succeed()
        end.succeed(count)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
