import Foundation
import LinuxSystem
import MartletAPI
import MartletClient
import SandboxModel
import Testing

/// A daemon that is killed while a client's template is being built: nothing is left of it, and the client is told.
@Suite(.serialized, .requiresDaemon, .timeLimit(.minutes(5))) struct TemplateBuildRecoveryTests {
    private struct Announced: Decodable { var templateID: String, buildID: String }
    private struct Status: Decodable { var status: String }

    /// Asks E2B's API, which our own client does not speak.
    private func ask(
        _ fixture: DaemonFixture, _ method: String, _ path: String, _ body: String? = nil
    ) async throws -> (code: String, body: String) {
        let outcome = try await Program.run(
            "curl",
            [
                "-sS", "-m", "60", "--unix-socket", "\(fixture.data)/api.sock", "-X", method, "-w", "\n%{http_code}",
                "http://localhost\(path)",
            ] + (body.map { ["-H", "Content-Type: application/json", "-d", $0] } ?? []))
        let lines = outcome.output.split(separator: "\n", omittingEmptySubsequences: false)
        return (String(lines.last ?? ""), lines.dropLast().joined(separator: "\n"))
    }

    private func announce(_ fixture: DaemonFixture, _ name: String) async throws -> Announced {
        let (code, body) = try await ask(fixture, "POST", "/v3/templates", "{\"name\":\"\(name)\"}")
        #expect(code == "202")
        return try JSONDecoder().decode(Announced.self, from: Data(body.utf8))
    }

    private func start(_ fixture: DaemonFixture, _ made: Announced, _ command: String) async throws {
        let (code, body) = try await ask(
            fixture, "POST", "/v2/templates/\(made.templateID)/builds/\(made.buildID)",
            "{\"fromTemplate\":\"base\",\"steps\":[{\"type\":\"RUN\",\"args\":[\"\(command)\",\"root\"]}]}")
        #expect(code == "202", "\(body)")
    }

    private func status(_ fixture: DaemonFixture, _ made: Announced) async throws -> (code: String, body: String) {
        try await ask(fixture, "GET", "/templates/\(made.templateID)/builds/\(made.buildID)/status?limit=100")
    }

    /// Runs `body` beside a daemon with images that are nobody else's.
    private func with(_ body: (DaemonFixture, String) async throws -> Void) async throws {
        let directory = NSTemporaryDirectory() + "martlet-it-\(UUID().uuidString.prefix(8))"
        let images = directory + "/images"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        _ = try await Program.run("cp", ["-al", DaemonFixture.images, images])
        try await DaemonFixture.with(["--no-pool", "--images", images], in: directory) { try await body($0, images) }
    }

    private func names(_ path: String) -> Set<String> {
        Set((try? FileManager.default.contentsOfDirectory(atPath: path)) ?? [])
    }

    @Test func `killed in a step, while the disk is written and while it is captured, nothing is left`() async throws {
        try await with { fixture, images in
            let (roots, records) = (names("\(images)/roots"), names("\(images)/templates"))
            for (round, sign) in ["underway", "writing the disk image", "booted Linux"].enumerated() {
                let made = try await announce(fixture, "cut-\(round)")
                try await start(fixture, made, round == 0 ? "echo underway; sleep 1000" : "echo \(round) > /root/x")
                while try await !status(fixture, made).body.contains(sign) {
                    try await Task.sleep(for: .milliseconds(20))
                }
                fixture.kill()
                try await fixture.start()
                #expect(try await status(fixture, made).code == "404")
                #expect(try await fixture.client.allSandboxes().isEmpty)
                // What was cut off is ended and removed while the daemon starts, or right after.
                try await eventually("round \(round)") {
                    fixture.machines().isEmpty && fixture.machineDirectories().isEmpty
                        && names("\(images)/roots") == roots && names("\(images)/templates") == records
                        && names("\(images)/staging").isEmpty
                }
                #expect(try await !fixture.client.templates().contains { $0.derived?.name == "cut-\(round)" })
            }
            // The same name again, to the end; and it is there after another sudden end.
            let made = try await announce(fixture, "whole")
            try await start(fixture, made, "echo whole > /root/x")
            try await eventually("build") { try await status(fixture, made).body.contains("\"status\":\"ready\"") }
            fixture.kill()
            try await fixture.start()
            #expect(try await status(fixture, made).body.contains("\"status\":\"ready\""))
            let sandbox = try await fixture.create(CreateSandboxRequest(template: "whole"))
            #expect(try await fixture.output(sandbox, "cat /root/x") == "whole")
            try await fixture.client.deleteSandbox(sandbox.id)
            // Its disk may be anything: the host's kernel is not to read it.
            for wall in ["process", "gvisor"] {
                let refused = await #expect(throws: MartletError.self) {
                    try await fixture.create(CreateSandboxRequest(template: "whole", isolation: wall))
                }
                #expect(refused?.code == .unsupported)
                let message = refused?.message ?? ""
                #expect(message.contains("built out of another") || message.contains("cannot be used on this host"))
            }
            let listed = try await fixture.cli("template", "ls")
            #expect(listed.output.contains("whole:default"))
            #expect(try await fixture.cli("template", "rm", "whole").code == 0)
            #expect(try await !fixture.client.templates().contains { $0.derived?.name == "whole" })
            #expect(names("\(images)/roots") == roots)
            #expect(names("\(images)/templates") == records)
        }
    }

    private func eventually(_ what: String, _ condition: () async throws -> Bool) async throws {
        for _ in 0..<1200 {
            if try await condition() { return }
            try await Task.sleep(for: .milliseconds(50))
        }
        Issue.record("it did not come about: \(what)")
    }
}
