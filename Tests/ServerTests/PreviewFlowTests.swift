import ControlPlane
import Glibc
import MartletAPI
import NIOCore
import SandboxModel
import ServiceLifecycle
import Synchronization
import Testing

@testable import Server

/// How bytes flow: both ways, for long, in bulk, side by side, and what ends it.
@Suite("Flow through previews and tunnels")
struct PreviewFlowTests {
    private static let switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "

    /// Takes an upgrade to any protocol, then sends back what it gets, in capitals, to its end.
    private static let echo: @Sendable (Wire) async throws -> Void = { wire in
        let head = try await wire.read(until: "\r\n\r\n")
        try await wire.send("\(switching)\(HTTPText.field("upgrade", in: head) ?? "")\r\n\r\nwelcome ")
        while let piece = try await wire.read() {
            try await wire.send(String(buffer: piece).uppercased())
        }
        try await wire.send(" bye")
        wire.finish()
    }

    @Test("Events come as they are sent, and a client that leaves takes its connection in the sandbox along")
    func events() async throws {
        let (serviceSawEnd, sentSecond) = (Latch(), Latch())
        try await LiveServer.with { live in
            try await GuestService.with { wire in
                _ = try await wire.read(until: "\r\n\r\n")
                try await wire.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
                try await sentSecond.wait()
                try await wire.send("data: 2\n\n")
                defer { serviceSawEnd.open() }
                while try await wire.read() != nil {}
            } _: { service in
                let id = try await live.fixture.create()
                _ = try await live.publish(id, service.port, visibility: .public)
                let host = live.host(id, service.port)
                try await Wire.connect(port: live.port) { client in
                    try await client.send("GET /events HTTP/1.1\r\nHost: \(host)\r\n\r\n")
                    #expect(try await client.read(until: "data: 1\n\n").hasPrefix("HTTP/1.1 200"))
                    sentSecond.open()
                    #expect(try await client.read(until: "data: 2\n\n").contains("data: 2"))
                }
                try await serviceSawEnd.wait()
            }
        }
    }

    @Test("A WebSocket, or any other protocol, passes both ways with what came early, and each end closes on its own")
    func upgrade() async throws {
        try await LiveServer.with { live in
            try await GuestService.with(PreviewFlowTests.echo) { service in
                let id = try await live.fixture.create()
                let token = try #require(try await live.publish(id, service.port).token)
                for target in ["/v1/sandboxes/\(id)/ports/\(service.port)/ws", "/ws"] {
                    let host = target == "/ws" ? live.host(id, service.port) : "x"
                    try await Wire.connect(port: live.port) { client in
                        try await client.send(
                            "GET \(target) HTTP/1.1\r\nHost: \(host)\r\nConnection: keep-alive, Upgrade\r\n"
                                + "Upgrade: websocket\r\nX-Martlet-Token: \(token)\r\n\r\n")
                        let head = try await client.read(until: "\r\n\r\n")
                        #expect(head.hasPrefix("HTTP/1.1 101"))
                        #expect(HTTPText.field("upgrade", in: head) == "websocket")
                        #expect(try await client.read(until: "welcome ") == "welcome ")
                        try await client.send("hello")
                        #expect(try await client.read(count: 5) == "HELLO")
                        client.finish()
                        #expect(try await client.readToEnd() == " bye")
                    }
                }
            }
        }
    }

    @Test("A refused upgrade is an answer like any other, and the connection ends with it")
    func refusedUpgrade() async throws {
        try await LiveServer.with { live in
            try await GuestService.answering({ _, _ in HTTPText.answer("no", status: "426 Upgrade Required") }) {
                service in
                let id = try await live.fixture.create()
                _ = try await live.publish(id, service.port, visibility: .public)
                let answer = try await live.ask(
                    "GET / HTTP/1.1\r\nHost: \(live.host(id, service.port))\r\nConnection: Upgrade\r\n"
                        + "Upgrade: websocket\r\n\r\n")
                #expect(answer.hasPrefix("HTTP/1.1 426") && answer.hasSuffix("no"))
                #expect(HTTPText.field("connection", in: answer) == "close")
            }
        }
    }

    @Test("A tunnel carries any bytes for the owner, to a port nobody published, over TCP and the unix socket")
    func tunnel() async throws {
        try await LiveServer.with(socketPath: { $0.path + "/s" }) { live in
            try await GuestService.with { wire in
                // The service speaks first, as a mail server does.
                try await wire.send("220 hello\n")
                let all = try await wire.readToEnd()
                try await wire.send("got \(all)")
                wire.finish()
            } _: { service in
                let id = try await live.fixture.create()
                let target = "GET /v1/sandboxes/\(id)/tunnel?port=\(service.port)"
                let upgrade = "Connection: Upgrade\r\nUpgrade: martlet-tcp\r\n"
                try await Wire.connect(port: live.port) { client in
                    try await client.send(live.head(target, upgrade))
                    #expect(try await client.read(until: "\r\n\r\n").hasPrefix("HTTP/1.1 101"))
                    #expect(try await client.read(until: "hello\n") == "220 hello\n")
                    try await client.send("\u{0}\r\n\r\nGET / HTTP/1.1")
                    client.finish()
                    #expect(try await client.readToEnd() == "got \u{0}\r\n\r\nGET / HTTP/1.1")
                }
                let local = try RawConnection(path: live.fixture.scratch.path + "/s")
                try local.send("\(target) HTTP/1.1\r\nHost: x\r\n\(upgrade)\r\n")
                #expect(try await local.receive(until: "220 hello\n").hasPrefix("HTTP/1.1 101"))
                try local.send("q")
                local.finishSending()
                #expect(try await local.receiveAll() == "got q")
                for (line, fields, status) in [
                    (target, "", 401), ("GET /v1/sandboxes/\(id)/tunnel?port=1", "key", 503),
                    ("GET /v1/sandboxes/none/tunnel?port=1", "key", 404),
                    ("GET /v1/sandboxes/\(id)/tunnel?port=0", "key", 400),
                    ("GET /v1/sandboxes/\(id)/tunnel", "key", 400),
                ] {
                    let request =
                        fields.isEmpty
                        ? "\(line) HTTP/1.1\r\nHost: x\r\n\(upgrade)\r\n" : live.head(line, upgrade)
                    let answer = try await live.ask(request)
                    #expect(answer.hasPrefix("HTTP/1.1 \(status) "), "\(line): \(answer.prefix(40))")
                }
                let plain = try await live.ask(live.head(target, "Connection: close\r\n"))
                #expect(plain.hasPrefix("HTTP/1.1 426") && HTTPText.field("upgrade", in: plain) == "martlet-tcp")
            }
        }
    }

    @Test("A hundred megabytes pass each way, and no side gets further ahead than a few buffers")
    func bulk() async throws {
        let total = 100 << 20
        let lead = Lead()
        let piece = ByteBuffer(repeating: 7, count: 65_536)
        try await LiveServer.with { live in
            try await GuestService.with { wire in
                let head = try await wire.read(until: "\r\n\r\n")
                if head.hasPrefix("PUT ") {
                    var rest = total
                    while rest > 0, let bytes = try await wire.read() {
                        rest -= bytes.readableBytes
                        lead.took(bytes.readableBytes)
                    }
                    try await wire.send(HTTPText.answer("\(total - rest)"))
                } else {
                    try await wire.send("HTTP/1.1 200 OK\r\nContent-Length: \(total)\r\n\r\n")
                    for _ in 0..<total / piece.readableBytes {
                        try await wire.send(piece)
                        lead.gave(piece.readableBytes)
                    }
                }
                wire.finish()
            } _: { service in
                let id = try await live.fixture.create()
                _ = try await live.publish(id, service.port, visibility: .public)
                let host = live.host(id, service.port)
                try await Wire.connect(port: live.port) { client in
                    try await client.send("PUT / HTTP/1.1\r\nHost: \(host)\r\nContent-Length: \(total)\r\n\r\n")
                    for _ in 0..<total / piece.readableBytes {
                        try await client.send(piece)
                        lead.gave(piece.readableBytes)
                    }
                    #expect(try await client.readAnswer().body == "\(total)")
                }
                #expect(lead.largest < 32 << 20)
                lead.reset()
                try await Wire.connect(port: live.port) { client in
                    try await client.send("GET / HTTP/1.1\r\nHost: \(host)\r\n\r\n")
                    _ = try await client.read(until: "\r\n\r\n")
                    var rest = total
                    while rest > 0, let bytes = try await client.read() {
                        rest -= bytes.readableBytes
                        lead.took(bytes.readableBytes)
                    }
                    #expect(rest == 0)
                }
                #expect(lead.largest < 32 << 20)
            }
        }
    }

    @Test("Two hundred at once do not mix")
    func parallel() async throws {
        try await LiveServer.with { live in
            try await GuestService.answering({ head, _ in
                HTTPText.answer(String(head.split(separator: " ")[1]))
            }) { service in
                let id = try await live.fixture.create()
                _ = try await live.publish(id, service.port, visibility: .public)
                let host = live.host(id, service.port)
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for number in 0..<200 {
                        group.addTask {
                            let answer = try await live.get("/\(number)", host: host)
                            #expect(answer.hasPrefix("HTTP/1.1 200") && answer.hasSuffix("\r\n\r\n/\(number)"))
                        }
                    }
                    try await group.waitForAll()
                }
            }
        }
    }

    @Test("Requests for the API and for previews follow each other on one connection, in their order, also all at once")
    func mixed() async throws {
        try await LiveServer.with { live in
            try await GuestService.answering({ head, body in
                HTTPText.answer(String(head.split(separator: " ")[1]) + body)
            }) { service in
                let id = try await live.fixture.create()
                _ = try await live.publish(id, service.port)
                let preview = "POST /v1/sandboxes/\(id)/ports/\(service.port)"
                let requests: [(String, String)] = [
                    (live.head("GET /healthz"), #"{"status":"ok"}"#),
                    (live.head("\(preview)/a", "Content-Length: 2\r\n") + "xy", "/axy"),
                    (live.head("\(preview)/b", "Content-Length: 0\r\n"), "/b"),
                    (live.head("GET /healthz"), #"{"status":"ok"}"#),
                    (live.head("GET /v1/sandboxes/\(id)/ports/9/none"), "not published"),
                    (
                        live.head("POST /v1/sandboxes/\(id)/exec", "Content-Length: 16\r\n") + #"{"cmd":["true"]}"#,
                        "exit_code"
                    ),
                    (live.head("\(preview)/c", "Content-Length: 1\r\n") + "z", "/cz"),
                ]
                try await Wire.connect(port: live.port) { client in
                    for (request, expected) in requests {
                        try await client.send(request)
                        #expect(try await client.readAnswer().body.contains(expected))
                    }
                }
                try await Wire.connect(port: live.port) { client in
                    try await client.send(requests.map(\.0).joined())
                    for (_, expected) in requests {
                        #expect(try await client.readAnswer().body.contains(expected), "\(expected)")
                    }
                }
            }
        }
    }

    @Test("A paused sandbox is resumed once for all who wait, where the publication says so; else they are told")
    func wake() async throws {
        try await LiveServer.with { live in
            try await GuestService.answering({ _, _ in HTTPText.answer("awake") }) { service in
                let plane = live.fixture.plane
                let cases: [(TimeoutAction, Bool?, Bool)] = [
                    (.pause, nil, true), (.kill, nil, false), (.kill, true, true), (.pause, false, false),
                ]
                for (action, wake, wakes) in cases {
                    let id = try await live.fixture.create(.init(onTimeout: action))
                    let published = try await live.publish(id, service.port, visibility: .public, wake: wake)
                    #expect(published.wakes == wakes)
                    _ = try await plane.sandboxes.pause(id, caller: .local)
                    let before = live.fixture.node.count(.resume)
                    let host = live.host(id, service.port)
                    let answers = try await withThrowingTaskGroup(of: String.self) { group in
                        for _ in 0..<8 { group.addTask { try await live.get("/", host: host) } }
                        return try await group.reduce(into: []) { $0.append($1) }
                    }
                    #expect(answers.allSatisfy { wakes ? $0.hasSuffix("awake") : $0.hasPrefix("HTTP/1.1 412") })
                    #expect(live.fixture.node.count(.resume) - before == (wakes ? 1 : 0))
                }
            }
        }
    }

    @Test("Taking a port back, publishing it anew, its token's end and the sandbox's end cut live connections")
    func cut() async throws {
        try await LiveServer.with { live in
            try await GuestService.with(PreviewFlowTests.echo) { service in
                let plane = live.fixture.plane
                let ways: [@Sendable (String) async throws -> Void] = [
                    { try await plane.ports.unpublish($0, port: UInt16(service.port), caller: .local) },
                    { _ = try await live.publish($0, service.port) },
                    { try await plane.sandboxes.delete($0, caller: .local) },
                    { _ in },
                ]
                for (number, way) in ways.enumerated() {
                    let id = try await live.fixture.create()
                    // The last one's time is over by itself.
                    let token = try #require(
                        try await live.publish(id, service.port, ttl: number == ways.count - 1 ? 1 : nil).token)
                    try await Wire.connect(port: live.port) { client in
                        try await client.send(
                            "GET / HTTP/1.1\r\nHost: \(live.host(id, service.port))\r\nConnection: Upgrade\r\n"
                                + "Upgrade: websocket\r\nX-Martlet-Token: \(token)\r\n\r\n")
                        _ = try await client.read(until: "welcome ")
                        try await way(id)
                        let rest = try? await client.readToEnd()
                        #expect(rest ?? "" == "")
                    }
                    if number == ways.count - 1 {
                        let late = try await live.get(
                            "/", host: live.host(id, service.port), fields: "X-Martlet-Token: \(token)\r\n")
                        #expect(late.hasPrefix("HTTP/1.1 401"))
                        #expect(HTTPText.field("X-Martlet-Error", in: late) == "token_expired")
                    }
                }
            }
        }
    }

    @Test("Clients that vanish in the middle of anything leave no connection behind in the sandbox")
    func vanishing() async throws {
        let connections = Tally()
        try await LiveServer.with { live in
            try await GuestService.with { wire in
                connections.add(1)
                defer { connections.add(-1) }
                let head = try await wire.read(until: "\r\n\r\n")
                if head.hasPrefix("GET /ws") { try await wire.send(PreviewFlowTests.switching + "x\r\n\r\n") }
                if head.hasPrefix("GET /flood") {
                    try await wire.send("HTTP/1.1 200 OK\r\n\r\n")
                    while true { try await wire.send(ByteBuffer(repeating: 1, count: 65_536)) }
                }
                while try await wire.read() != nil {}
            } _: { service in
                let id = try await live.fixture.create()
                _ = try await live.publish(id, service.port, visibility: .public)
                let host = live.host(id, service.port)
                let starts = [
                    "GET /silent HTTP/1.1\r\nHost: \(host)\r\n\r\n", "GET /flood HTTP/1.1\r\nHost: \(host)\r\n\r\n",
                    "GET /ws HTTP/1.1\r\nHost: \(host)\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
                    "POST /half HTTP/1.1\r\nHost: \(host)\r\nContent-Length: 1000\r\n\r\nhalf",
                ]
                for start in starts {
                    let client = try RawConnection(port: live.port)
                    try client.send(start)
                    try await connections.wait { $0 > 0 }
                    client.close()
                    try await connections.wait { $0 == 0 }
                }
            }
        }
    }

    @Test("At shutdown live connections are cut when the time for them is over, and nothing hangs")
    func shutdown() async throws {
        try await LiveServer.with { live in
            try await GuestService.with(PreviewFlowTests.echo) { service in
                let id = try await live.fixture.create()
                _ = try await live.publish(id, service.port, visibility: .public)
                try await Wire.connect(port: live.port) { client in
                    try await client.send(
                        "GET / HTTP/1.1\r\nHost: \(live.host(id, service.port))\r\nConnection: Upgrade\r\n"
                            + "Upgrade: websocket\r\n\r\n")
                    _ = try await client.read(until: "welcome ")
                    await live.group.triggerGracefulShutdown()
                    _ = try? await client.readToEnd()
                }
            }
        }
    }
}

/// How far a sender gets ahead of the one that takes what it sends.
private final class Lead: Sendable {
    private let state = Mutex((sent: 0, received: 0, largest: 0))

    func gave(_ count: Int) {
        state.withLock { state in
            state.sent += count
            state.largest = max(state.largest, state.sent - state.received)
        }
    }
    func took(_ count: Int) { state.withLock { $0.received += count } }
    func reset() { state.withLock { $0 = (0, 0, 0) } }
    var largest: Int { state.withLock { $0.largest } }
}

/// A number that can be waited for.
private final class Tally: Sendable {
    private let value = Mutex(0)
    private let changes = BoundedChannel<Void>(capacity: 1)

    func add(_ count: Int) {
        value.withLock { $0 += count }
        changes.offer(())
    }

    func wait(until isReached: (Int) -> Bool) async throws {
        while !isReached(value.withLock { $0 }) { _ = try await changes.nextBatch() }
    }
}
