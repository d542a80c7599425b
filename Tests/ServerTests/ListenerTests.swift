import ControlPlane
import Glibc
import GuestClient
import Logging
import MartletAPI
import SandboxModel
import ServiceLifecycle
import Synchronization
import Testing

@testable import Server

/// The API on real sockets.
struct LiveServer: Sendable {
    let fixture: ServerFixture
    let port: Int
    let group: ServiceGroup

    static func with(
        socketPath: @Sendable (Scratch) -> String? = { _ in nil },
        _ body: @Sendable (LiveServer) async throws -> Void
    ) async throws {
        try await ServerFixture.with { fixture in
            var configuration = fixture.server.configuration
            configuration.socketPath = socketPath(fixture.scratch)
            configuration.drain = .milliseconds(300)
            let server = APIServer(
                configuration: configuration, controlPlane: fixture.plane, metrics: SharedMetrics.registry,
                logger: .silent)
            let listening = BoundedChannel<ListeningAddress>(capacity: 4)
            let services = server.services { listening.offer($0) }
            let group = ServiceGroup(configuration: .init(services: services, logger: .silent))
            try await withThrowingTaskGroup(of: Void.self) { tasks in
                tasks.addTask { try await group.run() }
                var port = 0
                var count = 0
                while count < services.count, let batch = try await listening.nextBatch() {
                    count += batch.count
                    for case .tcp(_, let found) in batch { port = found }
                }
                do {
                    try await body(LiveServer(fixture: fixture, port: port, group: group))
                } catch {
                    tasks.cancelAll()
                    throw error
                }
                await group.triggerGracefulShutdown()
                try await tasks.waitForAll()
            }
        }
    }

    func head(_ line: String, _ headers: String = "") -> String {
        "\(line) HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \(fixture.key)\r\n\(headers)\r\n"
    }
}

@Suite("Listeners and connections")
struct ListenerTests {
    @Test("Port 0 takes a free port and tells it; the unix socket serves its user without a key")
    func addresses() async throws {
        try await LiveServer.with(socketPath: { $0.path + "/martlet.sock" }) { live in
            #expect(live.port > 0)
            let path = live.fixture.scratch.path + "/martlet.sock"
            var facts = stat()
            #expect(stat(path, &facts) == 0)
            #expect(facts.st_mode & 0o777 == 0o600)
            let local = try RawConnection(path: path)
            try local.send("GET /v1/sandboxes HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            #expect(try await local.receiveAll().hasPrefix("HTTP/1.1 200"))
            let remote = try RawConnection(port: live.port)
            try remote.send("GET /v1/sandboxes HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            #expect(try await remote.receiveAll().hasPrefix("HTTP/1.1 401"))
        }
    }

    @Test("A socket's path may be longer than a socket address")
    func longPath() async throws {
        let name = "/" + String(repeating: "d", count: 120)
        try await LiveServer.with(socketPath: { scratch in
            mkdir(scratch.path + name, 0o700)
            return scratch.path + name + "/martlet.sock"
        }) { live in
            let socket = try SocketPath(live.fixture.scratch.path + name + "/martlet.sock")
            let local = try RawConnection(path: socket.usable)
            try local.send("GET /v1/host HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            #expect(try await local.receiveAll().hasPrefix("HTTP/1.1 200"))
            withExtendedLifetime(socket) {}
        }
    }

    @Test("A JSON body cut off half-way makes nothing, and the daemon stays up")
    func cutOffBody() async throws {
        try await LiveServer.with { live in
            let client = try RawConnection(port: live.port)
            try client.send(live.head("POST /v1/sandboxes", "Content-Length: 1000\r\n") + #"{"name":"#)
            client.finishSending()
            let answer = try await client.receiveAll()
            #expect(answer.isEmpty || answer.hasPrefix("HTTP/1.1 400"))
            #expect(live.fixture.node.created.isEmpty)
            let other = try RawConnection(port: live.port)
            try other.send(live.head("GET /v1/sandboxes", "Connection: close\r\n"))
            #expect(try await other.receiveAll().hasPrefix("HTTP/1.1 200"))
        }
    }

    @Test("A file cut off half-way leaves the old one")
    func cutOffFile() async throws {
        try await LiveServer.with { live in
            let id = try await live.fixture.create()
            let path = live.fixture.scratch.path + "/file"
            for (framing, body) in [
                ("Content-Length: 100000\r\n", String(repeating: "x", count: 50_000)),
                ("Transfer-Encoding: chunked\r\n", "1000\r\nhalf a chunk"),
            ] {
                let whole = try RawConnection(port: live.port)
                try whole.send(
                    live.head(
                        "PUT /v1/sandboxes/\(id)/files?path=\(path)", "Content-Length: 3\r\nConnection: close\r\n")
                        + "old")
                #expect(try await whole.receiveAll().hasPrefix("HTTP/1.1 200"))
                let broken = try RawConnection(port: live.port)
                try broken.send(live.head("PUT /v1/sandboxes/\(id)/files?path=\(path)", framing) + body)
                broken.finishSending()
                _ = try await broken.receiveAll()
                let facts = try await live.fixture.plane.files.stat(id, path: path, caller: .local)
                #expect(facts.size == 3, "\(framing)")
            }
        }
    }

    @Test("A body of 100 MB is refused without being kept, and what is no HTTP is 400")
    func largeAndMalformed() async throws {
        try await LiveServer.with { live in
            let large = try RawConnection(port: live.port)
            try large.send(live.head("POST /v1/sandboxes", "Content-Length: 100000000\r\n"))
            #expect(try await large.receive(until: "\r\n").hasPrefix("HTTP/1.1 413"))
            large.close()
            let noise = try RawConnection(port: live.port)
            try noise.send([0x16, 0x03, 0x01, 0xFF, 0x00, 0x0D, 0x0A, 0x0D, 0x0A])
            noise.finishSending()
            let answer = try await noise.receiveAll()
            #expect(answer.isEmpty || answer.hasPrefix("HTTP/1.1 400"))
        }
    }

    @Test("A client that leaves a stream leaves the process running, and frees the guest's stream")
    func leavingClient() async throws {
        try await LiveServer.with { live in
            let id = try await live.fixture.create()
            let plane = live.fixture.plane
            let process = try await plane.processes.start(
                id, StartProcessRequest(cmd: .shell("echo begun; exec sleep 1000")), caller: .local)
            let client = try RawConnection(port: live.port)
            try client.send(live.head("GET /v1/sandboxes/\(id)/processes/\(process.pid)/stream"))
            #expect(try await client.receive(until: "begun").contains("event: stdout"))
            client.finishSending()
            // The server notices, ends its side and closes.
            _ = try await client.receiveAll()
            #expect(try await plane.processes.get(id, pid: process.pid, caller: .local).running)
        }
    }

    @Test("At shutdown a stream ends with an error event, and nothing hangs")
    func shutdownEndsStreams() async throws {
        try await LiveServer.with { live in
            let id = try await live.fixture.create()
            let process = try await live.fixture.plane.processes.start(
                id, StartProcessRequest(cmd: .shell("echo begun; exec sleep 1000")), caller: .local)
            let client = try RawConnection(port: live.port)
            try client.send(live.head("GET /v1/sandboxes/\(id)/processes/\(process.pid)/stream"))
            _ = try await client.receive(until: "begun")
            let idle = try RawConnection(port: live.port)
            let busy = try RawConnection(port: live.port)
            let body = #"{"cmd":"sleep 1000","timeout_seconds":1000}"#
            try busy.send(
                live.head("POST /v1/sandboxes/\(id)/exec", "Content-Length: \(body.utf8.count)\r\n") + body)
            await live.group.triggerGracefulShutdown()
            #expect(try await client.receiveAll().contains("event: error"))
            _ = try await idle.receiveAll()
            _ = try await busy.receiveAll()
        }
    }

    @Test("A download whose guest breaks off is cut, not ended as if whole")
    func brokenDownload() async throws {
        try await LiveServer.with { live in
            let id = try await live.fixture.create()
            let path = live.fixture.scratch.path + "/large"
            let descriptor = open(path, O_RDWR | O_CREAT, 0o600)
            #expect(ftruncate(descriptor, 200 << 20) == 0)
            close(descriptor)
            let client = try RawConnection(port: live.port)
            try client.send(live.head("GET /v1/sandboxes/\(id)/files?path=\(path)"))
            let begin = try await client.receive(until: "\r\n\r\n")
            #expect(begin.contains("Content-Length: \(200 << 20)") || begin.contains("content-length: \(200 << 20)"))
            let guest = try await live.fixture.node.guest(of: try #require(SandboxID(rawValue: id)))
            guest.close()
            // Fewer bytes than promised, then the end of the connection.
            let rest = try await client.receiveAll()
            #expect(rest.utf8.count < 200 << 20)
        }
    }

    @Test("Many requests go over one connection")
    func keepAlive() async throws {
        try await LiveServer.with { live in
            let id = try await live.fixture.create()
            let client = try RawConnection(port: live.port)
            let body = #"{"cmd":["true"]}"#
            for _ in 0..<20 {
                try client.send(
                    live.head("POST /v1/sandboxes/\(id)/exec", "Content-Length: \(body.utf8.count)\r\n") + body)
                #expect(try await client.receive(until: #""truncated":false}"#).hasPrefix("HTTP/1.1 200"))
            }
        }
    }

    @Test("An address in use is told of")
    func addressInUse() async throws {
        try await LiveServer.with { live in
            var configuration = live.fixture.server.configuration
            configuration.port = live.port
            let second = APIServer(
                configuration: configuration, controlPlane: live.fixture.plane, metrics: SharedMetrics.registry,
                logger: .silent)
            let error = await #expect(throws: MartletError.self) {
                try await second.services()[0].run()
            }
            #expect(error?.code == .unavailable)
            #expect(error?.message.contains("\(live.port)") == true)
        }
    }
}
