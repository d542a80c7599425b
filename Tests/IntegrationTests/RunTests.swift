import Foundation
import MartletAPI
import SandboxModel
import Testing

@Suite(.serialized, .requiresDaemon, .timeLimit(.minutes(5))) struct RunTests {
    @Test func `run prints what the program prints and ends as it ends`() async throws {
        try await DaemonFixture.with { fixture in
            let sum = try await fixture.cli("run", "--", "python3", "-c", "print(sum(range(100)))")
            #expect(sum.output == "4950\n")
            #expect(sum.code == 0)
            let failing = try await fixture.cli("run", "--", "sh", "-c", "echo out; echo err >&2; exit 7")
            #expect(failing.output == "out\n")
            #expect(failing.errors == "err\n")
            #expect(failing.code == 7)
            #expect(try await fixture.cli("run", "--", "sh", "-c", "kill -9 $$").code == 137)
            #expect(try await fixture.cli("run", "--", "no-such-program").code == 127)
            #expect(try await fixture.cli("run", "--", "/etc/passwd").code == 126)
            #expect(try await fixture.cli("ls", "-q").output == "")
        }
    }

    @Test func `run passes its input on, whole and in order`() async throws {
        try await DaemonFixture.with { fixture in
            let input = Array((0..<200_000).map { "\($0)\n" }.joined().utf8)
            let sum = try await fixture.cli("run", "-i", "--", "sha256sum", input: input)
            let file = fixture.data + "/expected"
            try Data(input).write(to: URL(fileURLWithPath: file))
            let echoed = try await fixture.cli("run", "-i", "--", "cat", input: input)
            #expect(Array(echoed.output.utf8) == input)
            #expect(sum.output.count == 64 + 4)
        }
    }

    @Test func `a sandbox lives on between exec calls and shows up in ls`() async throws {
        try await DaemonFixture.with { fixture in
            let created = try await fixture.cli("create", "--name", "mine", "-e", "COLOUR=green", "-m", "team=a")
            #expect(created.code == 0, "\(created.errors)")
            let id = created.output.trimmingCharacters(in: .whitespacesAndNewlines)
            #expect(try await fixture.cli("exec", "mine", "--", "sh", "-c", "echo $COLOUR > /tmp/c").code == 0)
            #expect(try await fixture.cli("exec", id, "--", "cat", "/tmp/c").output == "green\n")
            let list = try await fixture.cli("ls", "-o", "json")
            #expect(list.output.contains(id))
            #expect(try await fixture.cli("get", "mine", "-o", "json").output.contains("\"team\""))
            #expect(try await fixture.cli("rm", "mine").code == 0)
            #expect(try await fixture.cli("exec", id, "--", "true").code == 125)
        }
    }

    @Test func `files and directories are copied both ways`() async throws {
        try await DaemonFixture.with { fixture in
            let sandbox = try await fixture.create()
            let tree = fixture.data + "/tree"
            try FileManager.default.createDirectory(atPath: tree + "/sub", withIntermediateDirectories: true)
            let content = (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31 ^ $0 >> 8) }
            try Data(content).write(to: URL(fileURLWithPath: tree + "/sub/large"))
            try Data("x".utf8).write(to: URL(fileURLWithPath: tree + "/small"))
            let up = try await fixture.cli("cp", tree, "\(sandbox.id):/srv/tree")
            #expect(up.code == 0, "\(up.errors)")
            let down = try await fixture.cli("cp", "\(sandbox.id):/srv/tree", fixture.data + "/back")
            #expect(down.code == 0, "\(down.errors)")
            let back = try Data(contentsOf: URL(fileURLWithPath: fixture.data + "/back/sub/large"))
            #expect(Array(back) == content)
        }
    }

    @Test func `a daemon is started when none runs, once for many`() async throws {
        try await DaemonFixture.with { fixture in
            fixture.kill()
            let runs = try await withThrowingTaskGroup(of: DaemonFixture.Outcome.self) { group in
                for _ in 0..<3 { group.addTask { try await fixture.cli("run", "--", "echo", "hi") } }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(runs.allSatisfy { $0.output == "hi\n" })
            #expect(runs.filter { $0.errors.contains("started the daemon") }.count == 1)
            let file = try String(contentsOfFile: fixture.data + "/daemon.json", encoding: .utf8)
            let pid = try #require(file.firstMatch(of: /"pid":(\d+)/).flatMap { Int32($0.1) })
            fixture.take(pid)
        }
    }
}
