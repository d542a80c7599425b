import ControlPlane
import MartletAPI
import NIOCore
import NIOPosix
import SandboxModel
import Synchronization

@testable import Server

/// One end of a TCP connection, read as far as a test wants.
final class Wire: Sendable {
    private let channel: NIOAsyncChannel<ByteBuffer, ByteBuffer>
    private let outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>
    private let inbound: InboundPieces
    private let rest = Mutex(ByteBuffer())

    /// The iterator is used by one task at a time: the test's own.
    private final class InboundPieces: @unchecked Sendable {
        var iterator: NIOAsyncChannelInboundStream<ByteBuffer>.AsyncIterator
        init(_ stream: NIOAsyncChannelInboundStream<ByteBuffer>) { iterator = stream.makeAsyncIterator() }
    }

    fileprivate init(
        _ channel: NIOAsyncChannel<ByteBuffer, ByteBuffer>, _ inbound: NIOAsyncChannelInboundStream<ByteBuffer>,
        _ outbound: NIOAsyncChannelOutboundWriter<ByteBuffer>
    ) {
        self.channel = channel
        self.inbound = InboundPieces(inbound)
        self.outbound = outbound
    }

    func send(_ text: String) async throws { try await send(ByteBuffer(string: text)) }
    /// Returns when the bytes have left: nothing piles up here.
    func send(_ bytes: ByteBuffer) async throws { try await channel.channel.writeAndFlush(bytes) }
    /// Says that no more is sent.
    func finish() { outbound.finish() }
    /// Breaks off.
    func close() async throws { try await channel.channel.close() }

    /// The next piece, of whatever length; nil at the end.
    func read() async throws -> ByteBuffer? {
        let kept = rest.withLock { rest in
            defer { rest = ByteBuffer() }
            return rest
        }
        if kept.readableBytes > 0 { return kept }
        return try await inbound.iterator.next()
    }

    /// Up to the text, which is included; all there is if it does not come.
    func read(until text: String) async throws -> String {
        var bytes: [UInt8] = []
        let wanted = Array(text.utf8)
        while let piece = try await read() {
            let before = max(0, bytes.count - wanted.count)
            bytes += Array(piece.readableBytesView)
            guard let end = bytes[before...].firstRange(of: wanted)?.upperBound else { continue }
            rest.withLock { $0 = ByteBuffer(bytes: bytes[end...]) }
            return String(decoding: bytes[..<end], as: UTF8.self)
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Exactly so many bytes.
    func read(count: Int) async throws -> String {
        var bytes: [UInt8] = []
        while bytes.count < count, let piece = try await read() { bytes += Array(piece.readableBytesView) }
        let extra = bytes.dropFirst(count)
        rest.withLock { $0 = ByteBuffer(bytes: extra) }
        return String(decoding: bytes.prefix(count), as: UTF8.self)
    }

    func readToEnd() async throws -> String {
        var bytes: [UInt8] = []
        while let piece = try await read() { bytes += Array(piece.readableBytesView) }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// An answer whose head tells its length: head and body.
    func readAnswer() async throws -> (head: String, body: String) {
        let head = try await read(until: "\r\n\r\n")
        let length =
            head.split(separator: "\r\n").first { $0.lowercased().hasPrefix("content-length:") }?
            .split(separator: " ").last.flatMap { Int($0) } ?? 0
        return (head, try await read(count: length))
    }

    /// Connects over loopback.
    static func connect<T: Sendable>(
        port: Int, _ body: @escaping @Sendable (Wire) async throws -> T
    ) async throws -> T {
        let channel = try await ClientBootstrap(group: NIOSingletons.posixEventLoopGroup)
            .channelOption(.allowRemoteHalfClosure, value: true)
            .connect(host: "127.0.0.1", port: port) { channel in
                channel.eventLoop.makeCompletedFuture {
                    try NIOAsyncChannel<ByteBuffer, ByteBuffer>(
                        wrappingChannelSynchronously: channel,
                        configuration: .init(isOutboundHalfClosureEnabled: true))
                }
            }
        return try await channel.executeThenClose { try await body(Wire(channel, $0, $1)) }
    }
}

/// A TCP service "in a sandbox": on loopback of the computer that the test node's guests are.
struct GuestService: Sendable {
    let port: Int

    /// Serves each connection with `serve` for as long as `body` takes.
    static func with(
        _ serve: @escaping @Sendable (Wire) async throws -> Void,
        _ body: @escaping @Sendable (GuestService) async throws -> Void
    ) async throws {
        let server = try await ServerBootstrap(group: NIOSingletons.posixEventLoopGroup)
            .serverChannelOption(.backlog, value: 512)
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .bind(host: "127.0.0.1", port: 0) { channel in
                channel.eventLoop.makeCompletedFuture {
                    try NIOAsyncChannel<ByteBuffer, ByteBuffer>(
                        wrappingChannelSynchronously: channel,
                        configuration: .init(isOutboundHalfClosureEnabled: true))
                }
            }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                try await server.executeThenClose { connections in
                    try await withThrowingDiscardingTaskGroup { group in
                        for try await connection in connections {
                            group.addTask {
                                // A peer that breaks off is part of some tests.
                                try? await connection.executeThenClose { try await serve(Wire(connection, $0, $1)) }
                            }
                        }
                    }
                }
            }
            group.addTask { try await body(GuestService(port: server.channel.localAddress?.port ?? 0)) }
            // The service ends only when it is told to.
            try await group.next()
            group.cancelAll()
        }
    }

    /// One that answers every request with what `answer` makes of its head and body.
    static func answering(
        _ answer: @escaping @Sendable (_ head: String, _ body: String) -> String,
        _ body: @escaping @Sendable (GuestService) async throws -> Void
    ) async throws {
        try await with(
            { wire in
                let head = try await wire.read(until: "\r\n\r\n")
                var body = ""
                if let length = HTTPText.field("content-length", in: head).flatMap({ Int($0) }) {
                    body = try await wire.read(count: length)
                } else if HTTPText.field("transfer-encoding", in: head) != nil {
                    body = try await wire.read(until: "0\r\n\r\n")
                }
                try await wire.send(answer(head, body))
                wire.finish()
            }, body)
    }
}

/// HTTP as text.
enum HTTPText {
    /// A field's value in a head.
    static func field(_ name: String, in head: String) -> String? {
        head.split(separator: "\r\n").dropFirst().first { $0.lowercased().hasPrefix(name.lowercased() + ":") }
            .map { String($0.dropFirst(name.count + 1).drop { $0 == " " }) }
    }

    /// An answer with a body of known length.
    static func answer(_ body: String, status: String = "200 OK", fields: String = "") -> String {
        "HTTP/1.1 \(status)\r\n\(fields)Content-Length: \(body.utf8.count)\r\n\r\n\(body)"
    }
}

extension LiveServer {
    /// Publishes a port as the local user.
    func publish(
        _ id: String, _ port: Int, visibility: PortVisibility? = nil, ttl: Int? = nil, wake: Bool? = nil
    ) async throws -> PublishedPort {
        try await fixture.plane.ports.publish(
            id, PublishPortRequest(port: port, visibility: visibility, ttlSeconds: ttl, wake: wake), caller: .local)
    }

    /// The host name of a preview.
    func host(_ id: String, _ port: Int) -> String { "\(port)-\(id).localhost:\(self.port)" }

    /// One request on a connection of its own, and all that came back.
    func ask(_ request: String) async throws -> String {
        try await Wire.connect(port: port) { wire in
            try await wire.send(request)
            return try await wire.readToEnd()
        }
    }

    /// A request for a preview by its host name, on a connection of its own.
    func get(
        _ target: String, host: String, fields: String = "", method: String = "GET"
    ) async throws -> String {
        try await ask("\(method) \(target) HTTP/1.1\r\nHost: \(host)\r\n\(fields)Connection: close\r\n\r\n")
    }
}
