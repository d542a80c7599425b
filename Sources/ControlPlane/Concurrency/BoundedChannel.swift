import Synchronization

/// A queue between tasks that holds at most `capacity` elements: senders wait for room, one consumer takes all there is.
package final class BoundedChannel<Element: Sendable>: Sendable {
    private struct State {
        var elements: [Element] = []
        var isFinished = false
        var failure: (any Error)?
        var consumer: CheckedContinuation<Void, Never>?
        var senders: [UInt64: CheckedContinuation<Void, Never>] = [:]
        var nextSender: UInt64 = 0
    }

    private let capacity: Int
    private let state = Mutex(State())

    package init(capacity: Int) { self.capacity = max(1, capacity) }

    /// Adds an element; waits while the queue is full.
    ///
    /// - Throws: `ChannelFinished` when nobody takes elements any more; `CancellationError`.
    package func send(_ element: Element) async throws {
        while true {
            try Task.checkCancellation()
            let (isDone, isFinished) = state.withLock { state in
                if state.isFinished { return (false, true) }
                guard state.elements.count < capacity else { return (false, false) }
                state.elements.append(element)
                return (true, false)
            }
            if isFinished { throw ChannelFinished() }
            if isDone { return wakeConsumer() }
            await waitForRoom()
        }
    }

    /// Adds an element if there is room; tells whether it did.
    @discardableResult
    package func offer(_ element: Element) -> Bool {
        let isDone = state.withLock { state in
            guard !state.isFinished, state.elements.count < capacity else { return false }
            state.elements.append(element)
            return true
        }
        if isDone { wakeConsumer() }
        return isDone
    }

    /// Everything that waits in the queue, at least one element; nil when the channel is finished and empty.
    ///
    /// - Throws: what `finish` was given, once the queue is empty; `CancellationError`.
    package func nextBatch() async throws -> [Element]? {
        while true {
            let (batch, isFinished, failure, senders) = state.withLock { state in
                let batch = state.elements
                state.elements = []
                let senders = batch.isEmpty ? [] : Array(state.senders.values)
                if !batch.isEmpty { state.senders = [:] }
                return (batch, state.isFinished, state.failure, senders)
            }
            for sender in senders { sender.resume() }
            if !batch.isEmpty { return batch }
            if isFinished {
                if let failure { throw failure }
                return nil
            }
            try Task.checkCancellation()
            await waitForElements()
        }
    }

    /// Ends the channel: no more is taken in; what waits can still be taken out.
    package func finish(throwing error: (any Error)? = nil) {
        let (consumer, senders) = state.withLock { state in
            if !state.isFinished { state.failure = error }
            state.isFinished = true
            defer {
                state.consumer = nil
                state.senders = [:]
            }
            return (state.consumer, Array(state.senders.values))
        }
        consumer?.resume()
        for sender in senders { sender.resume() }
    }

    private func wakeConsumer() {
        let consumer = state.withLock { state in
            defer { state.consumer = nil }
            return state.consumer
        }
        consumer?.resume()
    }

    private func waitForElements() async {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let goOn = state.withLock { state in
                    if !state.elements.isEmpty || state.isFinished || Task.isCancelled { return true }
                    state.consumer = continuation
                    return false
                }
                if goOn { continuation.resume() }
            }
        } onCancel: {
            wakeConsumer()
        }
    }

    private func waitForRoom() async {
        let number = state.withLock { state in
            state.nextSender += 1
            return state.nextSender
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let goOn = state.withLock { state in
                    if state.elements.count < capacity || state.isFinished || Task.isCancelled { return true }
                    state.senders[number] = continuation
                    return false
                }
                if goOn { continuation.resume() }
            }
        } onCancel: {
            state.withLock { $0.senders.removeValue(forKey: number) }?.resume()
        }
    }
}

/// A channel whose consumer has left.
package struct ChannelFinished: Error {}
