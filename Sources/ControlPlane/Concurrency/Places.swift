import Synchronization

/// A number of places; who finds none waits until one is given back.
final class Places: Sendable {
    private struct State {
        var free: Int
        var waiters: [UInt64: CheckedContinuation<Void, Never>] = [:]
        var next: UInt64 = 0
    }

    private let state: Mutex<State>

    init(_ count: Int) { state = Mutex(State(free: count)) }

    /// Takes a place.
    ///
    /// - Throws: `CancellationError`.
    func take() async throws {
        while true {
            try Task.checkCancellation()
            let isTaken = state.withLock { state in
                guard state.free > 0 else { return false }
                state.free -= 1
                return true
            }
            if isTaken { return }
            await waitForPlace()
        }
    }

    func giveBack() {
        let waiter = state.withLock { state -> CheckedContinuation<Void, Never>? in
            state.free += 1
            return state.waiters.popFirst()?.value
        }
        waiter?.resume()
    }

    private func waitForPlace() async {
        let number = state.withLock { state in
            state.next += 1
            return state.next
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let goOn = state.withLock { state in
                    if state.free > 0 || Task.isCancelled { return true }
                    state.waiters[number] = continuation
                    return false
                }
                if goOn { continuation.resume() }
            }
        } onCancel: {
            state.withLock { $0.waiters.removeValue(forKey: number) }?.resume()
        }
    }
}
