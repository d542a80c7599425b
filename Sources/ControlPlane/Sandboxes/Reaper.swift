import Logging
import SandboxModel

/// Ends sandboxes when their time is over: sleeps until the earliest deadline, or until one changes.
struct Reaper: Sendable {
    /// Deadlines are on the wall clock, which may be set; this often it is looked at anew.
    static let longestSleep: Int64 = 60_000
    /// Sandboxes ended at the same time.
    static let width = 8

    let sandboxes: Sandboxes
    let index: SandboxIndex
    let logger: Logger

    /// Reaps until cancelled.
    func run() async {
        while !Task.isCancelled {
            await reapDue()
            await waitForWork()
        }
    }

    private func reapDue() async {
        let due = index.due(at: .now)
        guard !due.isEmpty else { return }
        await withTaskGroup(of: Void.self) { group in
            for (number, record) in due.enumerated() {
                if number >= Reaper.width { await group.next() }
                group.addTask { await sandboxes.expire(record) }
            }
        }
    }

    private func waitForWork() async {
        let deadline = index.earliestDeadline
        await withTaskGroup(of: Void.self) { group in
            group.addTask { _ = try? await sandboxes.deadlinesChanged.nextBatch() }
            if let deadline {
                let wait = min(max(0, deadline.milliseconds - Timestamp.now.milliseconds), Reaper.longestSleep)
                group.addTask { try? await Task.sleep(for: .milliseconds(wait)) }
            }
            await group.next()
            group.cancelAll()
        }
    }
}
