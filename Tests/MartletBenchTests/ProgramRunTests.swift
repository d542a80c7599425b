import Glibc
import LinuxSystem
import SandboxModel
import Testing

@testable import MartletBench

@Suite(.timeLimit(.minutes(1))) struct ProgramRunTests {
    @Test func theExitCodeAndWhatWasPrintedAreKept() async throws {
        try await ScratchDirectory.with { scratch in
            let log = scratch.path + "/log"
            let run = try await ProgramRun.run("/bin/sh", ["-c", "echo out; echo err >&2; exit 3"], log: log)
            #expect(run.exitCode == 3 && run.milliseconds > 0)
            #expect(String(decoding: try AtomicFile.read(log), as: UTF8.self) == "out\nerr\n")
            #expect(try await ProgramRun.run("/bin/sh", ["-c", "kill -9 $$"], log: log).exitCode == 137)
        }
    }

    @Test func aFailureQuotesTheLastLine() async throws {
        try await ScratchDirectory.with { scratch in
            let error = await #expect(throws: MartletError.self) {
                try await ProgramRun.milliseconds(
                    "/bin/sh", ["-c", "echo first; echo why; exit 1"], log: scratch.path + "/log")
            }
            #expect(error?.code == .failedPrecondition && error?.message == "sh: it ended with 1: why")
        }
    }

    @Test func aProgramThatIsNotThereIsAnError() async throws {
        try await ScratchDirectory.with { scratch in
            _ = await #expect(throws: (any Error).self) {
                try await ProgramRun.run("/does/not/exist", [], log: scratch.path + "/log")
            }
        }
        #expect(ProgramRun.find("no-such-program-anywhere") == nil)
        #expect(ProgramRun.find("sh")?.hasSuffix("/sh") == true)
    }

    @Test func cancellingKillsTheProgram() async throws {
        try await ScratchDirectory.with { scratch in
            let mark = scratch.path + "/started"
            let run = Task {
                try await ProgramRun.run(
                    "/bin/sh", ["-c", "echo $$ > '\(mark).new'; mv '\(mark).new' '\(mark)'; exec sleep 1000000"],
                    log: scratch.path + "/log")
            }
            while access(mark, F_OK) != 0 { try await Task.sleep(for: .milliseconds(5)) }
            let text = String(decoding: try AtomicFile.read(mark), as: UTF8.self)
            let pid = try #require(pid_t(text.filter(\.isNumber)))
            run.cancel()
            await #expect(throws: CancellationError.self) { try await run.value }
            #expect(kill(pid, 0) == -1 && errno == ESRCH)
        }
    }
}
