import NIOCore
import NIOPosix
import Synchronization

/// A server of tunnels on loopback: it answers each request's head as told, and then, if that was 101, sends back what it
/// gets in capitals, to its end.
final class TunnelServer: Sendable {
    let port: Int
    private let heads = Mutex<[String]>([])
    private let channel: NIOAsyncChannel<NIOAsyncChannel<ByteBuffer, ByteBuffer>, Never>

    private init(channel: NIOAsyncChannel<NIOAsyncChannel<ByteBuffer, ByteBuffer>, Never>) {
        self.channel = channel
        port = channel.channel.localAddress?.port ?? 0
    }

    /// The head of every request so far.
    var requests: [String] { heads.withLock { $0 } }

    static let accepted = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: martlet-tcp\r\nConnection: Upgrade\r\n\r\n"

    /// What an error answer looks like.
    static func refusal(_ status: String, _ code: String, reason: String? = nil) -> String {
        let details = reason.map { #"{"reason":"\#($0)"}"# } ?? "{}"
        let body = #"{"error":{"code":"\#(code)","message":"port: nothing","details":\#(details),"request_id":"r1"}}"#
        return "HTTP/1.1 \(status)\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
    }

    static func with(
        _ answer: @escaping @Sendable (_ head: String) -> String,
        _ body: @escaping @Sendable (TunnelServer) async throws -> Void
    ) async throws {
        let channel = try await ServerBootstrap(group: NIOSingletons.posixEventLoopGroup)
            .serverChannelOption(.backlog, value: 512)
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .bind(host: "127.0.0.1", port: 0) { channel in
                channel.eventLoop.makeCompletedFuture {
                    try NIOAsyncChannel<ByteBuffer, ByteBuffer>(
                        wrappingChannelSynchronously: channel,
                        configuration: .init(isOutboundHalfClosureEnabled: true))
                }
            }
        let server = TunnelServer(channel: channel)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await server.serve(answer) }
            group.addTask { try await body(server) }
            // The server ends only when it is told to.
            try await group.next()
            group.cancelAll()
        }
    }

    private func serve(_ answer: @escaping @Sendable (String) -> String) async throws {
        try await channel.executeThenClose { connections in
            try await withThrowingDiscardingTaskGroup { group in
                for try await connection in connections {
                    group.addTask {
                        // A client that breaks off is part of some tests.
                        try? await connection.executeThenClose { inbound, outbound in
                            var iterator = inbound.makeAsyncIterator()
                            var head = ""
                            while !head.hasSuffix("\r\n\r\n"), let piece = try await iterator.next() {
                                head += String(buffer: piece)
                            }
                            self.heads.withLock { $0.append(head) }
                            let text = answer(head)
                            try await connection.channel.writeAndFlush(ByteBuffer(string: text))
                            while text.contains(" 101 "), let piece = try await iterator.next() {
                                let capitals = String(buffer: piece).uppercased()
                                try await connection.channel.writeAndFlush(ByteBuffer(string: capitals))
                            }
                            outbound.finish()
                        }
                    }
                }
            }
        }
    }
}
