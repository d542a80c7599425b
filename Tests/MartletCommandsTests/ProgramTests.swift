import Glibc
import LinuxSystem
import Testing

@testable import MartletCommands

/// The built program, as a shell runs it. Nothing here needs a daemon.
@Suite(.timeLimit(.minutes(1))) struct ProgramTests {
    private struct Outcome {
        var code: Int32
        var output: String
        var errors: String
    }

    /// Arguments are bytes, because one of them must not be text.
    private func martlet(_ arguments: [[UInt8]]) throws -> Outcome {
        let directory = try TemporaryDirectory()
        let folder = Installation.runningExecutable.split(separator: "/").dropLast().joined(separator: "/")
        let program = "/\(folder)/martlet"
        let script = arguments.map { argument in
            "'" + argument.map { byte in "\\\(String(byte, radix: 8))" }.joined() + "'"
        }
        // printf turns octal escapes into bytes that Swift's strings could not hold.
        let words = script.map { "\"$(printf \($0))\"" }.joined(separator: " ")
        let (out, err) = (directory.path + "/out", directory.path + "/err")
        let line = "MARTLET_DATA='\(directory.path)/data' '\(program)' \(words) >'\(out)' 2>'\(err)' </dev/null"
        let child = try ChildProcess.spawn(
            SpawnRequest(program: "/bin/sh", arguments: ["sh", "-c", line], environment: ["PATH=/usr/bin:/bin"]))
        var status: Int32 = 0
        #expect(waitpid(child.pid, &status, 0) == child.pid)
        #expect(access(directory.path + "/data", F_OK) != 0, "no daemon was started")
        return Outcome(
            code: (status >> 8) & 0xFF, output: String(decoding: try AtomicFile.read(out), as: UTF8.self),
            errors: String(decoding: try AtomicFile.read(err), as: UTF8.self))
    }

    private func martlet(_ arguments: String...) throws -> Outcome { try martlet(arguments.map { Array($0.utf8) }) }

    @Test func helpIsDataAndSucceeds() throws {
        let outcome = try martlet("--help")
        #expect(outcome.code == 0)
        #expect(outcome.output.contains("run ") && outcome.errors.isEmpty)
    }

    @Test func anArgumentThatIsNotUTF8IsRefusedByItsPlace() throws {
        let outcome = try martlet([Array("run".utf8), Array("--".utf8), Array("echo".utf8), [0x61, 0xFF, 0xFE]])
        #expect(outcome.code == 125)
        #expect(outcome.output.isEmpty)
        #expect(outcome.errors.hasPrefix("martlet: argument 4: "))
        #expect(outcome.errors.contains("not valid UTF-8"))
    }

    @Test func wrongUseIsOurFailureAndSaysHowItIsRight() throws {
        for line in ["run", "run --nope -- true", "nonsense", "run --cpus x -- true"] {
            let arguments = line.split(separator: " ")
            let outcome = try martlet(arguments.map { Array($0.utf8) })
            #expect(outcome.code == 125)
            #expect(outcome.errors.hasPrefix("martlet: "))
            #expect(outcome.output.isEmpty)
        }
    }

    @Test func verbsThatOnlyLookStartNoDaemon() throws {
        let version = try martlet("version", "-o", "json")
        #expect(version.code == 0)
        #expect(version.output.contains("\"client\""))
        #expect(try martlet("completion", "fish").output.contains("martlet"))
    }
}
