import Synchronization

/// One at a time per key, in the order of asking: for steps that must not overlap, such as two captures of a sandbox.
final class Turns<Key: Hashable & Sendable>: Sendable {
    private struct Waiter {
        var number: UInt64
        /// Resumed with true when it is its turn, with false when it was cancelled.
        var continuation: CheckedContinuation<Bool, Never>
    }

    private struct State {
        /// A key that is here is taken; those who wait for it stand in line.
        var lines: [Key: [Waiter]] = [:]
        var next: UInt64 = 0
    }

    private let state = Mutex(State())

    /// Runs `body` when all who asked before are done.
    ///
    /// - Throws: `CancellationError` if cancelled while waiting; what `body` throws.
    func take<T>(_ key: Key, _ body: () async throws -> T) async throws -> T {
        guard await wait(key) else { throw CancellationError() }
        defer { release(key) }
        return try await body()
    }

    private func wait(_ key: Key) async -> Bool {
        let number = state.withLock { state in
            state.next += 1
            return state.next
        }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let answer: Bool? = state.withLock { state in
                    if Task.isCancelled { return false }
                    guard state.lines[key] != nil else {
                        state.lines[key] = []
                        return true
                    }
                    state.lines[key]?.append(Waiter(number: number, continuation: continuation))
                    return nil
                }
                if let answer { continuation.resume(returning: answer) }
            }
        } onCancel: {
            let left = state.withLock { state -> Waiter? in
                guard let index = state.lines[key]?.firstIndex(where: { $0.number == number }) else { return nil }
                return state.lines[key]?.remove(at: index)
            }
            left?.continuation.resume(returning: false)
        }
    }

    private func release(_ key: Key) {
        let next = state.withLock { state -> Waiter? in
            guard var line = state.lines[key], !line.isEmpty else {
                state.lines[key] = nil
                return nil
            }
            let next = line.removeFirst()
            state.lines[key] = line
            return next
        }
        next?.continuation.resume(returning: true)
    }
}
