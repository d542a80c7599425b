import LinuxSystem
import NIOCore
import NIOPosix
import SandboxModel

/// What the world of a network benchmark serves: data each way, echoes, the same over HTTP, and one name.
final class BenchServices: Sendable {
    /// Bound in the server's namespace.
    struct Sockets: Sendable {
        var data: Descriptor
        var http: Descriptor
        var names: Descriptor
    }

    private let channels: [any Channel]
    /// A thread of the server's own, for as long as the process lives.
    private static let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)

    private init(channels: [any Channel]) { self.channels = channels }

    /// Serves on the sockets.
    static func start(_ sockets: Sockets) async throws -> BenchServices {
        var channels: [any Channel] = []
        for socket in [sockets.data, sockets.http] {
            let bootstrap = ServerBootstrap(group: group)
                .childChannelOption(.socketOption(.tcp_nodelay), value: 1)
                .childChannelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.addHandler(DataService())
                    }
                }
            channels.append(try await bootstrap.withBoundSocket(socket.release()).get())
        }
        let names = DatagramBootstrap(group: group).channelInitializer { channel in
            channel.eventLoop.makeCompletedFuture {
                try channel.pipeline.syncOperations.addHandler(NameService())
            }
        }
        channels.append(try await names.withBoundSocket(sockets.names.release()).get())
        return BenchServices(channels: channels)
    }

    func stop() async {
        for channel in channels { try? await channel.close() }
    }
}

/// One connection. Its first line says what is wanted: `GIVE` and `TAKE` so many bytes, `PING` for an echo of whatever
/// follows, or an HTTP request for `/bytes/COUNT`. All but that begin with a zero byte, so that no proxy takes them for
/// HTTP.
private final class DataService: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private enum State {
        case asked(ByteBuffer)
        case giving(left: Int)
        case taking(left: Int)
        case echoing
    }

    private var state = State.asked(ByteBuffer())
    private let chunk = ByteBuffer(repeating: 0x6D, count: 128 << 10)
    private static let longestRequest = 8192

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        switch state {
        case .asked(var request):
            request.writeBuffer(&bytes)
            state = .asked(request)
            begin(request, context)
        case .giving: break
        case .taking(let left): took(bytes.readableBytes, of: left, context)
        case .echoing: context.writeAndFlush(wrapOutboundOut(bytes), promise: nil)
        }
    }

    private func begin(_ request: ByteBuffer, _ context: ChannelHandlerContext) {
        let text = String(buffer: request)
        guard let end = text.firstIndex(where: { $0.isNewline }) else {
            if request.readableBytes > Self.longestRequest { context.close(promise: nil) }
            return
        }
        let words = text[..<end].split(whereSeparator: { $0 == " " || $0 == "\0" })
        let count = words.count > 1 ? Int(words[1].split(separator: "/").last ?? "") ?? 0 : 0
        switch words.first {
        case "GIVE":
            state = .giving(left: count)
            give(context)
        case "TAKE":
            state = .taking(left: count)
            took(request.readableBytes - (text[...end].utf8.count), of: count, context)
        case "PING":
            state = .echoing
            let rest = ByteBuffer(string: String(text[text.index(after: end)...]))
            if rest.readableBytes > 0 { context.writeAndFlush(wrapOutboundOut(rest), promise: nil) }
        case "GET":
            guard text.contains("\r\n\r\n") else { return }
            let head = "HTTP/1.1 200 OK\r\nContent-Length: \(count)\r\nConnection: close\r\n\r\n"
            context.write(wrapOutboundOut(ByteBuffer(string: head)), promise: nil)
            state = .giving(left: count)
            give(context)
        default:
            context.close(promise: nil)
        }
    }

    private func took(_ bytes: Int, of left: Int, _ context: ChannelHandlerContext) {
        state = .taking(left: left - bytes)
        if left - bytes <= 0 { context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: "k")), promise: nil) }
    }

    private func give(_ context: ChannelHandlerContext) {
        guard case .giving(var left) = state else { return }
        while left > 0, context.channel.isWritable {
            let piece = chunk.getSlice(at: 0, length: min(left, chunk.readableBytes)) ?? chunk
            left -= piece.readableBytes
            context.write(wrapOutboundOut(piece), promise: nil)
        }
        state = .giving(left: left)
        context.flush()
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        give(context)
        context.fireChannelWritabilityChanged()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}

/// Answers queries for addresses (RFC 1035): one name has the server's, no other has any.
private final class NameService: ChannelInboundHandler {
    typealias InboundIn = AddressedEnvelope<ByteBuffer>
    typealias OutboundOut = AddressedEnvelope<ByteBuffer>

    private static let headerBytes = 12
    private static let addressType: UInt16 = 1
    private static let lifetimeSeconds: UInt32 = 60

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let envelope = unwrapInboundIn(data)
        guard let answer = Self.answer(to: envelope.data) else { return }
        let reply = AddressedEnvelope(remoteAddress: envelope.remoteAddress, data: answer)
        context.writeAndFlush(wrapOutboundOut(reply), promise: nil)
    }

    private static func answer(to query: ByteBuffer) -> ByteBuffer? {
        var rest = query
        guard let header = rest.readBytes(length: headerBytes) else { return nil }
        let questionStart = rest.readerIndex
        var labels: [String] = []
        while let length = rest.readInteger(as: UInt8.self), length > 0 {
            guard let label = rest.readString(length: Int(length)) else { return nil }
            labels.append(label.lowercased())
        }
        guard let type = rest.readInteger(as: UInt16.self), rest.readInteger(as: UInt16.self) != nil,
            let question = query.getSlice(at: questionStart, length: rest.readerIndex - questionStart)
        else { return nil }
        let isKnown = labels.joined(separator: ".") == BenchWorld.name
        let hasAnswer = isKnown && type == addressType
        var reply = ByteBuffer(bytes: header[0..<2])
        // An answer, recursion wanted and there; no error, or no such name.
        reply.writeInteger(isKnown ? 0x8180 as UInt16 : 0x8183)
        for count: UInt16 in [1, hasAnswer ? 1 : 0, 0, 0] { reply.writeInteger(count) }
        reply.writeImmutableBuffer(question)
        if hasAnswer {
            // The name is that of the question, 12 bytes from the start.
            for word: UInt16 in [0xC00C, addressType, 1] { reply.writeInteger(word) }
            reply.writeInteger(lifetimeSeconds)
            reply.writeInteger(4 as UInt16)
            reply.writeInteger(BenchWorld.server.bits)
        }
        return reply
    }
}
