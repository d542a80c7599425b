import NIOCore
import NIOPosix
import SandboxModel
import Synchronization

@testable import HostNetwork

/// A name server on loopback, UDP and TCP on one port, that says what it is told to.
final class TestNameServer: Sendable {
    /// What it says of a name.
    struct Entry: Sendable {
        var addresses: [String] = []
        var seconds: UInt32 = 60
        /// The name goes on to be this one.
        var alias: String?
        var code = DNSCode.noError
        /// Over UDP: nothing but that there is more.
        var isTruncated = false
        var isSilent = false
        /// Over UDP: another id, or another question, before the right answer.
        var isForgedFirst = false
    }

    let port: Int
    private let channels: [any Channel]
    private let entries = Mutex<[String: Entry]>([:])
    private let asked = Mutex<[String]>([])

    /// Names asked for so far, over TCP with `tcp:` before them.
    var questions: [String] { asked.withLock { $0 } }

    func set(_ name: String, _ entry: Entry) { entries.withLock { $0[name] = entry } }

    private init(port: Int, channels: [any Channel]) {
        self.port = port
        self.channels = channels
    }

    static func start() async throws -> TestNameServer {
        let made = Mutex<TestNameServer?>(nil)
        let group = NIOSingletons.posixEventLoopGroup
        let stream = try await ServerBootstrap(group: group)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(StreamHandler { made.withLock { $0 } })
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        let port = stream.localAddress!.port!
        let datagrams = try await DatagramBootstrap(group: group)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(DatagramHandler { made.withLock { $0 } })
                }
            }
            .bind(host: "127.0.0.1", port: port).get()
        let server = TestNameServer(port: port, channels: [stream, datagrams])
        made.withLock { $0 = server }
        return server
    }

    func stop() async {
        for channel in channels { try? await channel.close().get() }
    }

    fileprivate func answers(to bytes: [UInt8], isStream: Bool) -> [[UInt8]] {
        guard case .query(let query) = DNSQuery.parse(bytes) else { return [] }
        asked.withLock { $0.append((isStream ? "tcp:" : "") + query.name) }
        let entry = entries.withLock { $0[query.name] } ?? Entry(code: .noSuchName)
        if entry.isSilent { return [] }
        var answer = TestNameServer.answer(query, entry)
        guard !isStream else { return [answer] }
        if entry.isTruncated {
            answer[2] |= 2
            return [Array(answer.prefix(12 + query.question.count + 5))]
        }
        guard entry.isForgedFirst else { return [answer] }
        var evil = entry
        evil.addresses = ["66.66.66.66"]
        var otherID = TestNameServer.answer(query, evil)
        otherID[1] ^= 1
        var otherQuestion = query
        otherQuestion.question[1] ^= 1
        return [otherID, TestNameServer.answer(otherQuestion, evil), answer]
    }

    private static func answer(_ query: DNSQuery, _ entry: Entry) -> [UInt8] {
        var writer = DNSWriter()
        writer.word(query.id)
        writer.word(0x8180 | UInt16(entry.code.rawValue))
        writer.word(1)
        writer.word(UInt16(entry.addresses.count + (entry.alias == nil ? 0 : 1)))
        writer.word(0)
        writer.word(0)
        writer.raw(query.question)
        if let alias = entry.alias {
            writer.word(0xc00c)
            writer.word(DNSType.cname)
            writer.word(1)
            writer.long(entry.seconds)
            var name = DNSWriter()
            name.name(alias)
            writer.word(UInt16(name.bytes.count))
            writer.raw(name.bytes)
        }
        for address in entry.addresses {
            if let alias = entry.alias { writer.name(alias) } else { writer.word(0xc00c) }
            writer.word(DNSType.a)
            writer.word(1)
            writer.long(entry.seconds)
            writer.word(4)
            writer.long(IPv4(address).bits)
        }
        return writer.bytes
    }

    private final class DatagramHandler: ChannelInboundHandler {
        typealias InboundIn = AddressedEnvelope<ByteBuffer>
        let server: @Sendable () -> TestNameServer?
        init(_ server: @escaping @Sendable () -> TestNameServer?) { self.server = server }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            let envelope = unwrapInboundIn(data)
            for answer in server()?.answers(to: Array(envelope.data.readableBytesView), isStream: false) ?? [] {
                let reply = AddressedEnvelope(remoteAddress: envelope.remoteAddress, data: ByteBuffer(bytes: answer))
                context.channel.writeAndFlush(reply, promise: nil)
            }
        }
        func errorCaught(context: ChannelHandlerContext, error: any Error) {}
    }

    private final class StreamHandler: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        let server: @Sendable () -> TestNameServer?
        init(_ server: @escaping @Sendable () -> TestNameServer?) { self.server = server }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            let bytes = Array(unwrapInboundIn(data).readableBytesView)
            for answer in server()?.answers(to: Array(bytes.dropFirst(2)), isStream: true) ?? [] {
                var frame = ByteBuffer(integer: UInt16(answer.count))
                frame.writeBytes(answer)
                context.channel.writeAndFlush(frame, promise: nil)
            }
        }
    }
}
