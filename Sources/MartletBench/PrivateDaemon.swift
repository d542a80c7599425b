import Glibc
import LinuxSystem

/// A daemon that lives for one measurement, in a directory of its own.
struct PrivateDaemon: Sendable {
    let process: ProcessHandle
    let directory: String

    /// Longest time an orderly end may take.
    private static let patienceMilliseconds: Int32 = 40_000

    var facts: ProcessFacts { ProcessFacts(pid: process.pid) }

    /// Ends the daemon, and its machines with it, however `body` ends.
    func ending<Result: Sendable>(_ body: () async throws -> Result) async throws -> Result {
        let result: Result
        do {
            result = try await body()
        } catch {
            await end()
            throw error
        }
        await end()
        return result
    }

    private func end() async {
        // Not cancellable on purpose: an interrupted benchmark leaves nothing behind either.
        _ = try? await Blocking.run { [self] in
            process.signal(SIGTERM)
            if !process.waitForEnd(milliseconds: Self.patienceMilliseconds) {
                let machines = facts.children.compactMap { try? ProcessHandle.open(pid: $0) }
                process.signal(SIGKILL)
                for machine in machines { machine.signal(SIGKILL) }
                _ = process.waitForEnd(milliseconds: -1)
            }
            process.reap()
        }
    }
}
