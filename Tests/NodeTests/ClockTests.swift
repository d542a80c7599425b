import Foundation
import GuestClient
import GuestProtocol
import LinuxSystem
import Node
import SandboxModel
import Testing

/// Hazard 2: no program sees the time of the capture after it.
@Suite(.serialized, .requiresTemplate, .timeLimit(.minutes(5))) struct ClockTests {
    /// What a program that looks at the clock all the time wrote down.
    private struct Stamp: Hashable {
        /// Which thaw it ran after.
        var generation: Substring
        var milliseconds: Double
    }

    private static let tolerance = 500.0

    private static let spinner = """
        import ssl, socket
        def spin():
            with open('/run/stamps', 'w', buffering=1) as f:
                while True:
                    # The generation first: what is written with the new one was read from the new clock.
                    generation = open('/run/martlet/generation').read().strip()
                    f.write('%s %d\\n' % (generation, time.time_ns()))
                    time.sleep(0.003)
        threading.Thread(target=spin, daemon=True).start()
        def answer(question):
            # A handshake with a server whose certificate is only valid from some moment on.
            server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            server.load_cert_chain('/root/tls.pem')
            client = ssl.create_default_context(cafile='/root/tls.pem')
            inner, outer = socket.socketpair()
            def serve():
                try: server.wrap_socket(inner, server_side=True).sendall(b'hello')
                except OSError: pass
            threading.Thread(target=serve).start()
            try:
                return client.wrap_socket(outer, server_hostname='martlet.test').recv(5).decode()
            except ssl.SSLCertVerificationError as error:
                return error.verify_message
            finally: outer.close()
        """

    private static func now() -> Double { Double(Clocks.realtimeNanoseconds) / 1e6 }

    private static func stamps(_ fixture: NodeFixture, _ sandbox: NodeSandbox) async throws -> [Stamp] {
        // Whole lines of the newest twenty seconds.
        let text = try await fixture.shell("tail -n 6000 /run/stamps | grep -E '^[0-9a-f]{32} [0-9]{19}$'", in: sandbox)
        return text.split(separator: "\n").compactMap { line in
            let words = line.split(separator: " ")
            return Double(words[1]).map { Stamp(generation: words[0], milliseconds: $0 / 1e6) }
        }
    }

    /// Compares the guest's clock with the host's, and what was written after a thaw with when that began.
    private static func check(_ fixture: NodeFixture, _ sandbox: NodeSandbox, thawedAfter begin: Double) async throws {
        let before = now()
        let text = try await fixture.output(of: "date", "+%s%3N", in: sandbox)
        let guest = try #require(Double(text))
        #expect(guest > before - tolerance && guest < now() + tolerance, "the clock is off")
        _ = try await fixture.shell(
            "n=$(wc -l < /run/stamps); until [ $(wc -l < /run/stamps) -gt $n ]; do :; done", in: sandbox)
        let generation = try await fixture.output(of: "cat", "/run/martlet/generation", in: sandbox)
        let own = try await stamps(fixture, sandbox).filter { $0.generation == generation }
        #expect(!own.isEmpty)
        for stamp in own {
            #expect(stamp.milliseconds > begin - tolerance, "a program saw a time before its own thaw")
        }
    }

    @Test func `a child of an old snapshot has the time of today before any program runs`() async throws {
        try await NodeFixture.with { fixture in
            let parent = try await fixture.create()
            try await fixture.startResident(ClockTests.spinner, in: parent)
            let snapshot = try await fixture.node.snapshot(parent.id, as: SnapshotSpec(id: .random()))
            // The snapshot is to be old: time itself is what is waited for.
            try await Task.sleep(for: .seconds(3))
            _ = try await fixture.shell(
                """
                cd /root && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 \\
                    -subj /CN=martlet.test -addext subjectAltName=DNS:martlet.test -keyout key.pem -out cert.pem \\
                    2>/dev/null && cat key.pem cert.pem > tls.pem
                """, in: parent)
            let certificate = try await fixture.output(of: "cat", "/root/tls.pem", in: parent)
            let begin = ClockTests.now()
            let child = try await fixture.fork(.snapshot(snapshot.id))[0]
            try await ClockTests.check(fixture, child, thawedAfter: begin)
            // All it wrote under the old generation its parent wrote as well: before the capture, that is.
            let parents = Set(try await ClockTests.stamps(fixture, parent))
            let old = try await ClockTests.stamps(fixture, child).filter { $0.milliseconds < begin - 1000 }
            #expect(!old.isEmpty)
            #expect(Set(old).subtracting(parents).isEmpty, "a program ran in the child before its thaw")
            let guest = try await fixture.node.guest(of: child.id)
            let file = guest.writeFile(WriteFile(path: "/root/tls.pem", mode: 0o600))
            try await file.write(Array(certificate.utf8))
            _ = try await file.finish()
            #expect(try await fixture.ask("handshake", in: child) == "hello")
            // It is valid for no longer than that: with the snapshot's time the same handshake fails.
            _ = try await fixture.shell("date -s '-1 hour'", in: child)
            #expect(try await fixture.ask("handshake", in: child) == "certificate is not yet valid")
            try await fixture.destroy(child, parent)
            try await fixture.node.removeSnapshot(snapshot.id)
        }
    }

    @Test func `a sandbox that was paused has the time of today before any program runs`() async throws {
        try await NodeFixture.with { fixture in
            let sandbox = try await fixture.create()
            try await fixture.startResident(ClockTests.spinner, in: sandbox)
            let report = try await fixture.node.pause(sandbox.id)
            try await Task.sleep(for: .seconds(2))
            let begin = ClockTests.now()
            let resumed = try await fixture.node.resume(sandbox.id, from: .memory, network: .closed)
            try await ClockTests.check(fixture, resumed, thawedAfter: begin)
            let captured = Double(report.capturedAt.milliseconds)
            for stamp in try await ClockTests.stamps(fixture, resumed) {
                #expect(
                    stamp.milliseconds < captured + ClockTests.tolerance
                        || stamp.milliseconds > begin - ClockTests.tolerance,
                    "a program saw a time at which it did not run")
            }
            try await fixture.destroy(resumed)
        }
    }
}
