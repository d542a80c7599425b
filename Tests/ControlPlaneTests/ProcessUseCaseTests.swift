import GuestClient
import GuestProtocol
import LinuxSystem
import MartletAPI
import SandboxModel
import Testing

@testable import ControlPlane

@Suite("Programs, through a real guest agent")
struct ProcessUseCaseTests {
    private func exec(_ fixture: PlaneFixture, _ id: String, _ request: ExecRequest) async throws -> ExecResult {
        try await fixture.plane.processes.exec(id, request, caller: .local)
    }

    @Test("Output, exit code, signal, stdin, directory and environment are the program's")
    func results() async throws {
        try await PlaneFixture.with { fixture in
            let id = try await fixture.create().id
            let both = try await exec(fixture, id, ExecRequest(cmd: .shell("echo out; echo err >&2; exit 3")))
            #expect(both.exitCode == 3)
            #expect(both.stdout == "out\n")
            #expect(both.stderr == "err\n")
            #expect(both.signal == nil)
            let killed = try await exec(fixture, id, ExecRequest(cmd: .shell("kill -9 $$")))
            #expect(killed.exitCode == 137)
            #expect(killed.signal == "SIGKILL")
            #expect(!killed.timedOut)
            let fed = try await exec(
                fixture, id,
                ExecRequest(cmd: .shell("cat; pwd; echo $A"), cwd: "/tmp/../tmp", env: ["A": "ü"], stdin: "in\n"))
            #expect(fed.stdout == "in\n/tmp\nü\n")
        }
    }

    @Test("A command that is not there is a result: 127; one that cannot be executed: 126")
    func noCommand() async throws {
        try await PlaneFixture.with { fixture in
            let id = try await fixture.create().id
            let missing = try await exec(fixture, id, ExecRequest(cmd: .arguments(["no-such-command", "x"])))
            #expect(missing.exitCode == 127)
            #expect(missing.stderr == "no-such-command: command not found\n")
            let file = fixture.scratch.path + "/plain"
            try AtomicFile.write(Array("no program".utf8), to: file, mode: 0o644)
            let plain = try await exec(fixture, id, ExecRequest(cmd: .arguments([file])))
            #expect(plain.exitCode == 126)
            let error = await #expect(throws: MartletError.self) {
                try await exec(fixture, id, ExecRequest(cmd: .shell("true"), cwd: "/no/such/directory"))
            }
            #expect(error?.code == .invalidArgument)
        }
    }

    @Test("A program that runs too long is killed with its group, and that is a result")
    func timeout() async throws {
        try await PlaneFixture.with { fixture in
            let id = try await fixture.create().id
            let result = try await exec(
                fixture, id, ExecRequest(cmd: .shell("sleep 1000 & sleep 1000"), timeoutSeconds: 0.2))
            #expect(result.timedOut)
            #expect(result.exitCode == 137)
            #expect(result.signal == "SIGKILL")
        }
    }

    @Test("Output that is not UTF-8 comes as base 64; what is over the limit is left out")
    func output() async throws {
        try await PlaneFixture.with { fixture in
            let id = try await fixture.create().id
            let binary = try await exec(fixture, id, ExecRequest(cmd: .shell(#"printf '\377\376'"#)))
            #expect(binary.stdout == nil)
            #expect(binary.stdoutBase64 == "//4=")
            #expect(binary.stderr == "")
            let long = try await exec(
                fixture, id, ExecRequest(cmd: .shell("head -c 5000000 /dev/zero | tr '\\0' x"), maxOutputBytes: 1000))
            #expect(long.truncated)
            #expect(long.exitCode == 0)
            #expect(long.stdout == String(repeating: "x", count: 1000))
        }
    }

    @Test("A background process can be listed, followed from any byte, fed, signalled and forgotten")
    func background() async throws {
        try await PlaneFixture.with { fixture in
            let id = try await fixture.create().id
            let processes = fixture.plane.processes
            let cat = try await processes.start(
                id, StartProcessRequest(cmd: .arguments(["cat"]), stdin: true), caller: .local)
            #expect(cat.running)
            #expect(try await processes.list(id, caller: .local).map(\.pid) == [cat.pid])
            try await processes.write(id, pid: cat.pid, Array("hello".utf8), close: true, caller: .local)
            var text = ""
            var isOver = false
            let all = try await processes.follow(id, pid: cat.pid, from: 0, lossless: true, caller: .local)
            while let element = try await all.next() {
                switch element {
                case .output(_, _, let bytes): text += String(decoding: bytes, as: UTF8.self)
                case .exit(let exit):
                    #expect(exit.code == 0)
                    isOver = true
                }
            }
            #expect(text == "hello")
            #expect(isOver)
            let tail = try await processes.follow(id, pid: cat.pid, from: 3, lossless: false, caller: .local)
            guard case .output(_, let offset, let bytes) = try await tail.next() else {
                Issue.record("no output from byte 3 on")
                return
            }
            #expect(offset == 3)
            #expect(String(decoding: bytes, as: UTF8.self) == "lo")
            try await processes.forget(id, pid: cat.pid, caller: .local)
            let gone = await #expect(throws: MartletError.self) {
                try await processes.get(id, pid: cat.pid, caller: .local)
            }
            #expect(gone?.code == .notFound)
        }
    }

    @Test("Exec leaves a line in the sandbox's history")
    func history() async throws {
        try await PlaneFixture.with { fixture in
            let id = try await fixture.create().id
            _ = try await exec(fixture, id, ExecRequest(cmd: .arguments(["false"])))
            try await fixture.waitForEvent(id, kind: "exec", message: "failed")
        }
    }
}
