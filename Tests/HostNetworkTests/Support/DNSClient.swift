import NIOCore
import NIOPosix

@testable import HostNetwork

/// A guest's resolver library: asks once, over UDP or TCP, and reads the answer.
enum DNSClient {
    static func query(_ name: String, type: UInt16 = DNSType.a, id: UInt16 = 7, extensions: Bool = false) -> [UInt8] {
        var bytes = DNSQuery.outgoing(name, type: type, id: id)
        if extensions {
            bytes[11] = 1
            bytes += [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]
        }
        return bytes
    }

    static func ask(port: Int, name: String, type: UInt16) async throws -> DNSResponse {
        var bytes = try await exchange(port: port, query(name, type: type))
        // Read as an answer about addresses, which is the only one there is.
        let question = 12 + name.utf8.count + 2
        bytes[question] = 0
        bytes[question + 1] = 1
        return try DNSResponse(bytes, to: name, id: 7)
    }

    /// Sends a datagram and waits for the one that comes back.
    static func exchange(port: Int, _ bytes: [UInt8]) async throws -> [UInt8] {
        let group = NIOSingletons.posixEventLoopGroup
        let answer = group.next().makePromise(of: [UInt8].self)
        let server = try SocketAddress(ipAddress: "127.0.0.1", port: port)
        let channel = try await DatagramBootstrap(group: group)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(AnswerHandler(answer))
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        channel.writeAndFlush(
            AddressedEnvelope(remoteAddress: server, data: ByteBuffer(bytes: bytes)), promise: nil)
        let timer = channel.eventLoop.scheduleTask(in: .seconds(20)) {
            answer.fail(ChannelError.connectTimeout(.seconds(20)))
        }
        defer {
            timer.cancel()
            channel.close(promise: nil)
        }
        return try await answer.futureResult.get()
    }

    private final class AnswerHandler: ChannelInboundHandler {
        typealias InboundIn = AddressedEnvelope<ByteBuffer>
        let answer: EventLoopPromise<[UInt8]>
        init(_ answer: EventLoopPromise<[UInt8]>) { self.answer = answer }
        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            answer.succeed(Array(unwrapInboundIn(data).data.readableBytesView))
        }
    }
}
