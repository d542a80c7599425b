import GuestClient
import GuestProtocol
import NIOCore
import NIOPosix
import SandboxModel
import Testing

/// A service on loopback that sends back what it gets, to its end.
struct EchoService {
    let port: UInt16

    static func with(_ body: (EchoService) async throws -> Void) async throws {
        let channel = try await ServerBootstrap(group: NIOSingletons.posixEventLoopGroup)
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .childChannelInitializer { child in
                child.eventLoop.makeCompletedFuture { try child.pipeline.syncOperations.addHandler(Echo()) }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        do {
            try await body(EchoService(port: UInt16(channel.localAddress?.port ?? 0)))
        } catch {
            try await channel.close()
            throw error
        }
        try await channel.close()
    }

    private final class Echo: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        func channelRead(context: ChannelHandlerContext, data: NIOAny) { context.writeAndFlush(data, promise: nil) }
        func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
            if let event = event as? ChannelEvent, event == .inputClosed { context.close(promise: nil) }
        }
    }
}

extension GuestSocket {
    /// Everything until the service sends no more.
    func readToEnd() async throws -> [UInt8] {
        var bytes: [UInt8] = []
        while let piece = try await read() { bytes += piece }
        return bytes
    }
}

@Suite(.timeLimit(.minutes(2))) struct GuestSocketTests {
    @Test func `bytes go to a service and back, of any size, to the end`() async throws {
        try await AgentFixture.with { fixture in
            try await EchoService.with { service in
                let socket = try await fixture.connection.connect(port: service.port)
                let bytes = (0..<4_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask {
                        try await socket.write(bytes)
                        socket.finishWriting()
                    }
                    let echoed = try await socket.readToEnd()
                    #expect(echoed == bytes)
                    try await group.waitForAll()
                }
                #expect(try await socket.read() == nil)
            }
        }
    }

    @Test func `a port where nothing listens is told apart`() async throws {
        try await AgentFixture.with { fixture in
            let error = await #expect(throws: MartletError.self) {
                // Port 1 (tcpmux) is nobody's.
                _ = try await fixture.connection.connect(port: 1)
            }
            #expect(error?.code == .unavailable)
            #expect(error?.details["reason"] == "port_closed")
        }
    }

    @Test func `two hundred connections at once do not mix`() async throws {
        try await AgentFixture.with { fixture in
            try await EchoService.with { service in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for number in 0..<200 {
                        group.addTask {
                            let socket = try await fixture.connection.connect(port: service.port)
                            try await socket.write(Array("number \(number)".utf8))
                            socket.finishWriting()
                            #expect(try await socket.readToEnd() == Array("number \(number)".utf8))
                        }
                    }
                    try await group.waitForAll()
                }
            }
        }
    }

    @Test func `letting go of a connection frees its place`() async throws {
        try await AgentFixture.with { fixture in
            try await EchoService.with { service in
                // More than the agent allows at once.
                for _ in 0..<400 { _ = try await fixture.connection.connect(port: service.port) }
            }
        }
    }

    @Test func `an agent that is too old says unsupported`() async throws {
        let guest = try await HostileGuest.start()
        async let socket = guest.connection.connect(port: 80)
        let open = try #require(try await guest.receiveFrame())
        let failure = GuestFailure(.unsupported, "operation 48 is not known to this agent")
        try guest.send(Frame(stream: open.stream, kind: .fail, payload: failure.encoded))
        do {
            _ = try await socket
            Issue.record("it connected")
        } catch {
            #expect((error as? MartletError)?.code == .unsupported)
        }
    }

    @Test func `a guest that never answers ends the wait`() async throws {
        let guest = try await HostileGuest.start()
        let error = await #expect(throws: MartletError.self) {
            _ = try await guest.connection.connect(port: 80, timeout: .milliseconds(50))
        }
        #expect(error?.code == .timeout)
        // The guest is told, and the connection stands.
        #expect(try await guest.receiveFrame()?.kind == .open)
        #expect(try await guest.receiveFrame()?.kind == .cancel)
        #expect(guest.connection.isOpen)
    }

    @Test func `a guest that floods replies or data is cut off`() async throws {
        let flooding = Frame(stream: 0, kind: .reply, payload: ConnectionEvent(.opened).encoded)
        // As one: what was granted grows while the reader takes what came first.
        for frame in [flooding, Frame(stream: 0, kind: .data, payload: [UInt8](repeating: 1, count: 1200))] {
            let guest = try await HostileGuest.start()
            async let connecting = guest.connection.connect(port: 80, window: 1000)
            let open = try #require(try await guest.receiveFrame())
            // In one piece: a reader that comes in between lets go of the stream, and the rest is nobody's.
            var bytes: [UInt8] = []
            Frame(stream: open.stream, kind: .reply, payload: ConnectionEvent(.opened).encoded).encode(into: &bytes)
            for _ in 0..<2 {
                Frame(stream: open.stream, kind: frame.kind, payload: frame.payload).encode(into: &bytes)
            }
            try guest.send(bytes)
            let socket = try await connecting
            await #expect(throws: MartletError.self) {
                while try await socket.read() != nil {}
            }
            try await guest.connection.closed.get()
        }
    }

    @Test func `an event that cannot be read ends the connection to the service alone`() async throws {
        let guest = try await HostileGuest.start()
        async let connecting = guest.connection.connect(port: 80)
        let open = try #require(try await guest.receiveFrame())
        try guest.send(Frame(stream: open.stream, kind: .reply, payload: ConnectionEvent(.opened).encoded))
        let socket = try await connecting
        try guest.send(Frame(stream: open.stream, kind: .reply, payload: [77]))
        await #expect(throws: MartletError.self) { _ = try await socket.read() }
        #expect(guest.connection.isOpen)
    }
}
