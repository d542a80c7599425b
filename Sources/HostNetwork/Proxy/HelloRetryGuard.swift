import NIOCore
import SandboxModel

/// Holds a client to the name of its first message when the server asks it to begin again: of the second one
/// (RFC 8446 section 4.1.4), servers take the name that counts.
///
/// What the client sends behind its first message waits until the server has answered; early data is all that could.
final class HelloRetryGuard {
    /// What the client may send before its second message.
    static let maxBytes = 262_144
    /// A ServerHello that is a request to begin again has this for its random number (RFC 8446 section 4.1.3).
    private static let retryRandom: [UInt8] = [
        0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2,
        0x11,
        0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
    ]

    fileprivate let name: String
    fileprivate let flow: ProxyFlow
    fileprivate weak var client: ClientSide?

    init(flow: ProxyFlow, name: String) {
        self.flow = flow
        self.name = name
    }

    /// Goes in front of what passes the client's bytes on.
    ///
    /// - Parameter length: of the first message, records included.
    func clientHandler(afterFirst length: Int) -> any ChannelInboundHandler & RemovableChannelHandler {
        let handler = ClientSide(self, length)
        client = handler
        return handler
    }

    /// Goes in front of what passes the server's bytes on.
    func serverHandler() -> any ChannelInboundHandler & RemovableChannelHandler { ServerSide(self) }

    /// Whether the server's first bytes ask to begin again; nil while they are too few to tell.
    static func isRetry(_ bytes: [UInt8]) -> Bool? {
        // A record's header, then a message's, then the version.
        guard let type = bytes.first else { return nil }
        guard type == 22 else { return false }
        guard bytes.count >= 6 else { return nil }
        guard bytes[5] == 2 else { return false }
        return bytes.count < 43 ? nil : bytes[11..<43].elementsEqual(retryRandom)
    }

    /// What the client has sent behind its first message.
    enum Second: Equatable {
        case incomplete
        case hello(ClientHello)
        case broken
    }

    static func second(_ bytes: [UInt8]) -> Second {
        var position = 0
        while bytes.count - position >= 5 {
            switch bytes[position] {
            // A change of ciphers that means nothing, and early data the server drops.
            case 20, 23: position += 5 + (Int(bytes[position + 3]) << 8 | Int(bytes[position + 4]))
            case 22:
                switch ClientHello.parse(Array(bytes[position...])) {
                case .hello(let hello): return .hello(hello)
                case .incomplete: return .incomplete
                case .invalid: return .broken
                }
            // An alert: it gives up.
            default: return .broken
            }
        }
        return bytes.count > maxBytes ? .broken : .incomplete
    }
}

private final class ServerSide: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer

    private let retry: HelloRetryGuard
    private var seen: [UInt8] = []
    private var isDecided = false

    init(_ retry: HelloRetryGuard) { self.retry = retry }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if !isDecided {
            seen.append(contentsOf: unwrapInboundIn(data).readableBytesView.prefix(43 - seen.count))
            if let isRetry = HelloRetryGuard.isRetry(seen) {
                isDecided = true
                // It passes before the client is let go on, and cannot be before it has passed.
                context.fireChannelRead(data)
                retry.client?.serverAnswered(isRetry: isRetry)
                context.pipeline.syncOperations.removeHandler(context: context, promise: nil)
                return
            }
        }
        context.fireChannelRead(data)
    }
}

private final class ClientSide: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer

    private let retry: HelloRetryGuard
    /// Bytes of the first message still to come through.
    private var first: Int
    private var held = ByteBuffer()
    private var isRetry: Bool?
    private var hasEnded = false
    private var isReadAsked = false
    private var context: ChannelHandlerContext?

    init(_ retry: HelloRetryGuard, _ first: Int) {
        self.retry = retry
        self.first = first
    }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }
    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        if first > 0, let part = bytes.readSlice(length: min(first, bytes.readableBytes)) {
            first -= part.readableBytes
            context.fireChannelRead(NIOAny(part))
        }
        held.writeBuffer(&bytes)
        // Only what arrives at once when the client ends its side can be more than was asked for.
        if held.readableBytes > HelloRetryGuard.maxBytes * 8 { retry.flow.end(withReset: true) }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        context.fireChannelReadComplete()
        check()
    }

    /// With something held, no more is read until the server has answered.
    func read(context: ChannelHandlerContext) {
        guard held.readableBytes > 0 else { return context.read() }
        isReadAsked = true
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard case ChannelEvent.inputClosed = event else { return context.fireUserInboundEventTriggered(event) }
        hasEnded = true
        check()
    }

    fileprivate func serverAnswered(isRetry: Bool) {
        self.isRetry = isRetry
        check()
    }

    private func check() {
        guard let context, let isRetry, !retry.flow.isOver else { return }
        guard isRetry else { return release(context) }
        switch HelloRetryGuard.second(Array(held.readableBytesView.prefix(HelloRetryGuard.maxBytes + 1))) {
        case .incomplete: if hasEnded { release(context) } else { context.read() }
        case .broken: retry.flow.refuse(.notTLS, name: retry.name)
        case .hello(let hello):
            if hello.hasEncryptedName { return retry.flow.refuse(.encryptedServerName, name: hello.serverName) }
            guard let name = hello.serverName.flatMap({ HostPattern.normalized($0) }), name == retry.name else {
                return retry.flow.refuse(.hostMismatch, name: hello.serverName)
            }
            release(context)
        }
    }

    private func release(_ context: ChannelHandlerContext) {
        let bytes = held
        held = ByteBuffer()
        self.context = nil
        if bytes.readableBytes > 0 { context.fireChannelRead(NIOAny(bytes)) }
        if bytes.readableBytes > 0 { context.fireChannelReadComplete() }
        if hasEnded { context.fireUserInboundEventTriggered(ChannelEvent.inputClosed) }
        if isReadAsked { context.read() }
        context.pipeline.syncOperations.removeHandler(context: context, promise: nil)
    }
}
