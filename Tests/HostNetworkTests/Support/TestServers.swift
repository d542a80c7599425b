import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import Synchronization

/// A server on loopback of which each connection is one peer.
final class PeerServer: Sendable {
    let port: Int
    private let listener: any Channel
    private let peers: AsyncStream<Peer>
    private let all: Peers

    private final class Peers: Sendable {
        let list = Mutex<[Peer]>([])
    }

    private init(listener: any Channel, peers: AsyncStream<Peer>, all: Peers) {
        self.listener = listener
        self.peers = peers
        self.all = all
        port = listener.localAddress!.port!
    }

    static func start(tls: NIOSSLContext? = nil) async throws -> PeerServer {
        let (stream, continuation) = AsyncStream<Peer>.makeStream()
        let all = Peers()
        let listener = try await ServerBootstrap(group: NIOSingletons.posixEventLoopGroup)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.allowRemoteHalfClosure, value: tls == nil)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    if let tls {
                        try channel.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: tls))
                    }
                    let peer = Peer(channel)
                    try peer.attach()
                    all.list.withLock { $0.append(peer) }
                    continuation.yield(peer)
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        return PeerServer(listener: listener, peers: stream, all: all)
    }

    /// The next connection.
    func accept() async throws -> Peer {
        for await peer in peers { return peer }
        throw CancellationError()
    }

    func stop() async {
        try? await listener.close().get()
        for peer in all.list.withLock({ $0 }) { await peer.close() }
    }
}

/// What a test server was asked.
struct SeenRequest: Sendable {
    var head: HTTPRequestHead
    var body: [UInt8]
    var trailers: HTTPHeaders?
}

/// A server of HTTP/1.1 on loopback, with TLS if given a certificate: tells back what it was asked, and knows some paths.
final class HTTPServer: Sendable {
    let port: Int
    private let listener: any Channel
    private let requests = Mutex<[SeenRequest]>([])

    var seen: [SeenRequest] { requests.withLock { $0 } }

    private init(listener: any Channel) {
        self.listener = listener
        port = listener.localAddress!.port!
    }

    static func start(tls: NIOSSLContext? = nil) async throws -> HTTPServer {
        let made = Mutex<HTTPServer?>(nil)
        let listener = try await ServerBootstrap(group: NIOSingletons.posixEventLoopGroup)
            .serverChannelOption(.backlog, value: 1024)
            .childChannelOption(.allowRemoteHalfClosure, value: tls == nil)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let operations = channel.pipeline.syncOperations
                    if let tls { try operations.addHandler(NIOSSLServerHandler(context: tls)) }
                    try operations.configureHTTPServerPipeline(withErrorHandling: false)
                    try operations.addHandler(
                        HTTPServerHandler { request in made.withLock { $0 }?.note(request) })
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        let server = HTTPServer(listener: listener)
        made.withLock { $0 = server }
        return server
    }

    private func note(_ request: SeenRequest) { requests.withLock { $0.append(request) } }

    func stop() async { try? await listener.close().get() }
}

private final class HTTPServerHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private let note: @Sendable (SeenRequest) -> Void
    private var request: SeenRequest?

    init(note: @escaping @Sendable (SeenRequest) -> Void) { self.note = note }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head):
            request = SeenRequest(head: head, body: [])
            if head.headers[canonicalForm: "expect"].contains("100-continue") {
                context.writeAndFlush(
                    wrapOutboundOut(.head(HTTPResponseHead(version: .http1_1, status: .continue))), promise: nil)
            }
        case .body(let bytes): request?.body.append(contentsOf: bytes.readableBytesView)
        case .end(let trailers):
            guard var request else { return }
            request.trailers = trailers
            note(request)
            answer(request, context)
        }
    }

    private func answer(_ request: SeenRequest, _ context: ChannelHandlerContext) {
        var status = HTTPResponseStatus.ok
        var headers: HTTPHeaders = ["X-Server": "test"]
        var body = "\(request.head.method) \(request.head.uri) \(request.head.headers["host"].first ?? "-") "
        body += String(decoding: request.body.prefix(100), as: UTF8.self)
        switch request.head.uri {
        case "/204": (status, body) = (.noContent, "")
        case "/304":
            (status, body) = (.notModified, "")
            headers.add(name: "Content-Length", value: "1234")
        case "/redirect", "/redirect?key=s3cr3t-value-0001":
            status = .found
            headers.add(name: "Location", value: "https://other.test" + request.head.uri)
            headers.add(name: "Content-Length", value: "\(body.utf8.count)")
        case "/chunked": break
        default: headers.add(name: "Content-Length", value: "\(body.utf8.count)")
        }
        context.write(
            wrapOutboundOut(.head(HTTPResponseHead(version: .http1_1, status: status, headers: headers))), promise: nil)
        if !body.isEmpty, request.head.method != .HEAD {
            context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(string: body)))), promise: nil)
        }
        let channel = context.channel
        let isLast = !request.head.isKeepAlive
        context.writeAndFlush(wrapOutboundOut(.end(nil))).whenComplete { _ in
            if isLast { channel.close(promise: nil) }
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
