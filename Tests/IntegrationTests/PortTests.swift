import Foundation
import MartletAPI
import MartletClient
import SandboxModel
import Testing

/// Services of real guests, reached from outside: by host name, by path and through tunnels. None of the sandboxes has a
/// network.
@Suite(.serialized, .requiresDaemon, .timeLimit(.minutes(10))) struct PortTests {
    /// Serves files, echoes what is posted, answers upgrades, and streams a line a moment.
    private static let service = """
        import http.server, os, threading, time
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            def log_message(self, *_): pass
            def send_all(self, body, kind="text/plain"):
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            def do_GET(self):
                if self.headers.get("Upgrade") == "echo":
                    self.send_response(101)
                    self.send_header("Connection", "Upgrade")
                    self.send_header("Upgrade", "echo")
                    self.end_headers()
                    self.wfile.flush()
                    while data := self.connection.recv(65536): self.connection.sendall(data.upper())
                    self.close_connection = True
                elif self.path.startswith("/bytes/"):
                    left = int(self.path.rsplit("/", 1)[1])
                    self.send_response(200)
                    self.send_header("Content-Length", str(left))
                    self.end_headers()
                    block = bytes(range(256)) * 256
                    while left > 0:
                        piece = block[:min(left, len(block))]
                        self.wfile.write(piece)
                        left -= len(piece)
                elif self.path == "/lines":
                    self.send_response(200)
                    self.send_header("Transfer-Encoding", "chunked")
                    self.end_headers()
                    try:
                        number = 0
                        while True:
                            line = b"line %d\\n" % number
                            self.wfile.write(b"%x\\r\\n%s\\r\\n" % (len(line), line))
                            self.wfile.flush()
                            number += 1
                            time.sleep(0.05)
                    except OSError:
                        open("/tmp/gone", "w").close()
                elif self.path == "/headers":
                    self.send_all("".join(f"{k}: {v}\\n" for k, v in self.headers.items()).encode())
                else:
                    self.send_all(f"hello from {os.uname().nodename} at {self.path}".encode())
            def do_POST(self):
                self.send_all(self.rfile.read(int(self.headers["Content-Length"]))[::-1])
        class Server(http.server.ThreadingHTTPServer):
            request_queue_size = 128
        Server(("127.0.0.1", 8000), Handler).serve_forever()
        """

    /// A sandbox without a network in which the service listens.
    private func serve(_ fixture: DaemonFixture, _ request: CreateSandboxRequest = CreateSandboxRequest()) async throws
        -> SandboxResource
    {
        let sandbox = try await fixture.create(request)
        #expect(sandbox.network?.mode ?? NetworkPolicy.Mode.none == NetworkPolicy.Mode.none)
        _ = try await fixture.client.startProcess(
            sandbox.id, StartProcessRequest(cmd: .arguments(["python3", "-c", Self.service])))
        let ready =
            "for i in $(seq 300); do (exec 3<>/dev/tcp/127.0.0.1/8000) 2>/dev/null && exit 0; sleep 0.1; done; exit 1"
        let result = try await fixture.client.exec(sandbox.id, ExecRequest(cmd: .arguments(["bash", "-c", ready])))
        #expect(result.exitCode == 0, "the service in the sandbox does not start")
        return sandbox
    }

    /// What a URL answers, by the host it names, over loopback.
    private func get(
        _ port: PortResource, _ path: String = "", _ options: [String] = [], byPath: Bool = false
    ) async throws -> DaemonFixture.Outcome {
        let base = byPath ? port.pathURL : port.url
        // Names below localhost are the machine itself, whatever its resolver says.
        let host = try #require(URL(string: base)?.host)
        let number = try #require(URL(string: base)?.port)
        return try await Program.run(
            "curl",
            ["-sS", "-m", "120", "--resolve", "\(host):\(number):127.0.0.1"] + options + [base + path])
    }

    private func token(_ port: PortResource) -> [String] { ["-H", "X-Martlet-Token: \(port.token ?? "")"] }

    @Test func `a private port answers by host and by path to who has its token, and to nobody else`() async throws {
        try await DaemonFixture.with { fixture in
            let sandbox = try await serve(fixture)
            let port = try await fixture.client.publishPort(sandbox.id, PublishPortRequest(port: 8000))
            #expect(port.visibility == .private && port.token != nil && port.expiresAt != nil)
            for byPath in [false, true] {
                let answer = try await get(port, "a%20b?c=d", token(port), byPath: byPath)
                #expect(answer.output == "hello from \(sandbox.id) at /a%20b?c=d", "\(answer)")
                let status = ["-o", "/dev/null", "-w", "%{http_code}"]
                #expect(try await get(port, "", status, byPath: byPath).output == "401")
                let wrong = ["-H", "X-Martlet-Token: \(String(repeating: "0", count: 64))"] + status
                #expect(try await get(port, "", wrong, byPath: byPath).output == "403")
            }
            let seen = try await get(port, "headers", token(port) + ["-H", "Authorization: Bearer theirs"]).output
            #expect(!seen.contains(port.token ?? "?") && seen.contains("Authorization: Bearer theirs"))
            // A port is published alone.
            let other = try await fixture.client.publishPort(sandbox.id, PublishPortRequest(port: 8001))
            let closed = try await get(other, "", token(other) + ["-w", " %{http_code}"])
            #expect(closed.output.contains("port_closed") && closed.output.hasSuffix(" 503"))
            #expect(try await get(other, "", token(port) + ["-w", " %{http_code}"]).output.hasSuffix(" 403"))
            try await fixture.client.unpublishPort(sandbox.id, 8000)
            let gone = try await get(port, "", token(port) + ["-w", " %{http_code}"])
            #expect(gone.output.contains("not_published") && gone.output.hasSuffix(" 404"))
            try await fixture.client.deleteSandbox(sandbox.id)
            let dead = try await get(other, "", token(other) + ["-w", " %{http_code}"])
            #expect(dead.output.hasSuffix(" 404") && !dead.output.contains("port_closed"), "\(dead.output)")
        }
    }

    @Test func `large answers and requests, streams and many at once pass`() async throws {
        try await DaemonFixture.with { fixture in
            let sandbox = try await serve(fixture)
            let port = try await fixture.client.publishPort(
                sandbox.id, PublishPortRequest(port: 8000, visibility: .public))
            let megabytes = 24
            let file = "\(fixture.data)/download"
            _ = try await get(port, "bytes/\(megabytes << 20)", ["-o", file])
            let expected = Data((0..<(megabytes << 20)).map { UInt8(truncatingIfNeeded: $0) })
            #expect(try Data(contentsOf: URL(fileURLWithPath: file)) == expected)
            let body = Data((0..<4_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31 >> 3) })
            try body.write(to: URL(fileURLWithPath: file))
            _ = try await get(port, "", ["--data-binary", "@\(file)", "-H", "Expect:", "-o", "\(file).back"])
            #expect(try Data(contentsOf: URL(fileURLWithPath: "\(file).back")) == Data(body.reversed()))
            try await withThrowingTaskGroup(of: String.self) { group in
                for number in 0..<32 { group.addTask { try await self.get(port, "n\(number)").output } }
                var answers: Set<String> = []
                for try await answer in group { answers.insert(answer) }
                #expect(answers == Set((0..<32).map { "hello from \(sandbox.id) at /n\($0)" }))
            }
            // A client that goes away takes its connection in the guest along.
            let lines = try await get(port, "lines", ["-N", "-m", "2"])
            #expect(lines.output.hasPrefix("line 0\nline 1\n"))
            let gone = "for i in $(seq 200); do test -e /tmp/gone && break; sleep 0.05; done; ls /tmp/gone"
            #expect(try await fixture.output(sandbox, gone) == "/tmp/gone")
        }
    }

    @Test func `an upgraded connection carries bytes both ways`() async throws {
        try await DaemonFixture.with { fixture in
            let sandbox = try await serve(fixture)
            let port = try await fixture.client.publishPort(sandbox.id, PublishPortRequest(port: 8000))
            for byPath in [false, true] {
                let url = try #require(URL(string: byPath ? port.pathURL : port.url))
                let path = byPath ? url.path + (url.path.hasSuffix("/") ? "" : "/") : "/"
                let head =
                    "GET \(path) HTTP/1.1\r\nHost: \(url.host ?? ""):\(url.port ?? 0)\r\n"
                    + "Connection: Upgrade\r\nUpgrade: echo\r\nX-Martlet-Token: \(port.token ?? "")\r\n\r\n"
                let said = try await Program.run(
                    "python3", ["-c", Self.upgrade, "\(url.port ?? 0)"], input: Array(head.utf8))
                #expect(said.output.hasPrefix("HTTP/1.1 101"), "\(said)")
                #expect(said.output.hasSuffix("HELLO \(String(repeating: "X", count: 100_000))"))
            }
        }
    }

    /// Sends its input, reads a head, then has something echoed and ends its side.
    private static let upgrade = """
        import socket, sys
        s = socket.create_connection(("127.0.0.1", int(sys.argv[1])), 30)
        s.sendall(sys.stdin.buffer.read())
        data = b""
        while b"\\r\\n\\r\\n" not in data: data += s.recv(1)
        s.sendall(b"hello " + b"x" * 100000)
        s.shutdown(socket.SHUT_WR)
        while piece := s.recv(65536): data += piece
        sys.stdout.buffer.write(data)
        """

    @Test func `a paused sandbox is woken by a request, also after the daemon was killed`() async throws {
        try await DaemonFixture.with { fixture in
            let sandbox = try await serve(fixture)
            let port = try await fixture.client.publishPort(
                sandbox.id, PublishPortRequest(port: 8000, visibility: .public, wake: true))
            try await fixture.client.pauseSandbox(sandbox.id)
            #expect(try await get(port, "one").output == "hello from \(sandbox.id) at /one")
            #expect(try await fixture.client.sandbox(sandbox.id).state == .running)
            try await fixture.client.pauseSandbox(sandbox.id)
            fixture.kill()
            try await fixture.start()
            // The daemon listens elsewhere now; what was published still is.
            let published = try #require(try await fixture.client.ports(sandbox.id).first)
            #expect(published.port == 8000 && published.wake && published.token == nil)
            #expect(try await get(published, "two").output == "hello from \(sandbox.id) at /two")
            // One that is not to be woken tells so.
            let still = try await fixture.client.publishPort(
                sandbox.id, PublishPortRequest(port: 8000, visibility: .public, wake: false))
            try await fixture.client.pauseSandbox(sandbox.id)
            let answer = try await get(still, "", ["-w", " %{http_code}"])
            #expect(answer.output.hasSuffix(" 412"), "\(answer.output)")
            #expect(answer.output.contains("paused"))
            #expect(try await fixture.client.sandbox(sandbox.id).state == .paused)
        }
    }

    @Test func `a fork publishes nothing of its parent's and serves what it inherited`() async throws {
        try await DaemonFixture.with { fixture in
            let sandbox = try await serve(fixture)
            _ = try await fixture.client.publishPort(sandbox.id, PublishPortRequest(port: 8000))
            let child = try #require(try await fixture.client.forkSandbox(sandbox.id).forks.first?.sandbox)
            #expect(try await fixture.client.ports(child.id).isEmpty)
            let port = try await fixture.client.publishPort(child.id, PublishPortRequest(port: 8000))
            #expect(try await get(port, "x", token(port)).output == "hello from \(child.id) at /x")
        }
    }

    @Test func `the command line publishes, lists, forwards and takes back`() async throws {
        try await DaemonFixture.with { fixture in
            _ = try await serve(fixture, CreateSandboxRequest(name: "web"))
            let published = try await fixture.cli("port", "publish", "web", "8000", "-o", "json")
            #expect(published.code == 0, "\(published.errors)")
            let port = try JSONDecoder().decode(PortResource.self, from: Data(published.output.utf8))
            #expect(try await get(port, "cli", token(port)).output == "hello from web at /cli")
            let listed = try await fixture.cli("port", "ls", "web")
            #expect(listed.output.contains("8000") && !listed.output.contains(port.token ?? "?"))
            // A forwarded port needs no publication.
            #expect(try await fixture.cli("port", "rm", "web", "8000").code == 0)
            try await Program.background(
                DaemonFixture.program, ["port-forward", "web", "0:8000", "-o", "json"],
                environment: DaemonFixture.environment(fixture.data)
            ) { line in
                let local = try #require(Self.number("port", in: line), "\(line)")
                let answer = try await Program.run("curl", ["-sS", "-m", "60", "http://127.0.0.1:\(local)/raw"])
                #expect(answer.output == "hello from web at /raw")
                let many = try await Program.run(
                    "curl",
                    [
                        "-sS", "-m", "60", "http://127.0.0.1:\(local)/bytes/5000000", "-o", "/dev/null", "-w",
                        "%{size_download}",
                    ])
                #expect(many.output == "5000000")
            }
            let missing = try await fixture.cli("port", "publish", "web", "70000")
            #expect(missing.code != 0 && missing.errors.contains("70000"), "\(missing)")
            let unknown = try await fixture.cli("port-forward", "nobody", "0:80")
            #expect(unknown.code != 0 && unknown.errors.contains("nobody"))
        }
    }

    private static func number(_ name: String, in json: String) -> Int? {
        guard let value = try? JSONSerialization.jsonObject(with: Data(json.utf8)) else { return nil }
        let first = (value as? [[String: Any]])?.first ?? (value as? [String: Any])
        return first?[name] as? Int
    }
}
