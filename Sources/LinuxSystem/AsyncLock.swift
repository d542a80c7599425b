/// Lets one task at a time into a stretch of work; the others wait in the order they came.
package actor AsyncLock {
    private var isHeld = false
    private var waiting: [CheckedContinuation<Void, Never>] = []

    package init() {}

    /// Runs `work` alone. A task that is cancelled while it waits still gets its turn: `work` is to look.
    package func withLock<Value: Sendable>(
        _ work: @Sendable () async throws -> Value
    ) async rethrows -> Value {
        await acquire()
        defer { release() }
        return try await work()
    }

    /// Holds the lock until `release`, which may be another task's: for work that is handed over.
    package func acquire() async {
        guard isHeld else {
            isHeld = true
            return
        }
        await withCheckedContinuation { waiting.append($0) }
    }

    /// Lets the next one in.
    package func release() {
        if waiting.isEmpty { isHeld = false } else { waiting.removeFirst().resume() }
    }
}
