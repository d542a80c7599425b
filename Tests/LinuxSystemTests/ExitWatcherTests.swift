import Glibc
import Testing

@testable import LinuxSystem

@Suite struct ExitWatcherTests {
    /// A process that does not end by itself.
    private func sleeper() throws -> ProcessHandle {
        let child = try ChildProcess.spawn(
            SpawnRequest(program: "/bin/sleep", arguments: ["sleep", "1000000"], environment: []))
        return try ProcessHandle.open(pid: child.pid)
    }

    @Test(.timeLimit(.minutes(1))) func everyWaiterOfAProcessLearnsOfItsEnd() async throws {
        for _ in 0..<100 {
            let process = try sleeper()
            await withTaskGroup(of: Void.self) { group in
                for _ in 0..<4 { group.addTask { await ExitWatcher.shared.waitUntilEnded(process) } }
                process.signal(SIGKILL)
                group.addTask { await ExitWatcher.shared.waitUntilEnded(process) }
            }
            #expect(process.hasEnded)
            // Reaped: there is no such child any more.
            #expect(waitpid(process.pid, nil, WNOHANG) == -1)
        }
    }

    @Test(.timeLimit(.minutes(1))) func aWaiterThatLeavesDoesNotTakeTheOthersAlong() async throws {
        for _ in 0..<100 {
            let process = try sleeper()
            await withTaskGroup(of: Void.self) { group in
                group.addTask { await ExitWatcher.shared.waitUntilEnded(process) }
                let leaving = Task { await ExitWatcher.shared.waitUntilEndedOrCancelled(process) }
                leaving.cancel()
                await leaving.value
                #expect(!process.hasEnded)
                process.signal(SIGKILL)
            }
            #expect(waitpid(process.pid, nil, WNOHANG) == -1)
        }
    }
}
