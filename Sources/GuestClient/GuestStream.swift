import GuestProtocol
import NIOCore
import SandboxModel
import Synchronization

/// One operation under way in a guest: an async sequence of what the guest answers, and a way to send it data.
///
/// The guest can never make the host hold more than the stream's window: it may only send what was granted, and more
/// is granted as elements are taken. One task iterates; one task sends. Letting go of the stream cancels it.
package final class GuestStream: Sendable, AsyncSequence {
    /// What came from the guest, in order.
    package enum Element: Sendable {
        case reply([UInt8])
        /// A piece of data with its channel flag.
        case data(flags: UInt8, bytes: [UInt8])
        /// The operation's result; always the last element.
        case end([UInt8])
    }

    let id: UInt32
    private let window: Int
    private let connection: GuestConnection
    private let state: Mutex<State>

    private struct State {
        var buffered: [Element] = []
        var readIndex = 0
        var failure: MartletError?
        var isOver = false
        /// Bytes the guest may still send.
        var granted: Int
        /// Bytes taken by the consumer and not yet granted again.
        var taken = 0
        var reader: CheckedContinuation<Element?, any Error>?
        /// Bytes we may still send.
        var sendCredit = 0
        /// Replies the guest may still send: no operation has more than two.
        var repliesLeft = 2
        var sender: CheckedContinuation<Void, any Error>?
    }

    init(id: UInt32, window: Int, connection: GuestConnection) {
        self.id = id
        self.window = window
        self.connection = connection
        state = Mutex(State(granted: window))
    }

    deinit {
        // A consumer that left before the end: the guest need not go on.
        if !state.withLock({ $0.isOver }) { connection.release(stream: id) }
    }

    // MARK: Taking

    package struct Iterator: AsyncIteratorProtocol {
        let stream: GuestStream
        package mutating func next() async throws -> Element? { try await stream.next() }
    }

    package func makeAsyncIterator() -> Iterator { Iterator(stream: self) }

    /// The next element; nil after the end.
    ///
    /// - Throws: what the guest failed with, `unavailable` when it is gone, `CancellationError`.
    package func next() async throws -> Element? {
        let element = try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let ready: Result<Element?, any Error>? = state.withLock { state in
                    if state.readIndex < state.buffered.count {
                        let element = state.buffered[state.readIndex]
                        state.readIndex += 1
                        if state.readIndex == state.buffered.count {
                            state.buffered.removeAll(keepingCapacity: true)
                            state.readIndex = 0
                        }
                        return .success(element)
                    }
                    if let failure = state.failure { return .failure(failure) }
                    if state.isOver { return .success(nil) }
                    if Task.isCancelled { return .failure(CancellationError()) }
                    state.reader = continuation
                    return nil
                }
                if let ready { continuation.resume(with: ready) }
            }
        } onCancel: {
            let reader = state.withLock { state in
                defer { state.reader = nil }
                return state.reader
            }
            reader?.resume(throwing: CancellationError())
        }
        if case .data(_, let bytes) = element { grantAgain(bytes.count) }
        return element
    }

    /// What has come and was not taken yet, without waiting for more; nil after the end.
    ///
    /// - Throws: what the guest failed with, once all that came before is taken.
    package func takeReady() throws(MartletError) -> [Element]? {
        let (elements, failure, isOver) = state.withLock { state in
            let elements = Array(state.buffered[state.readIndex...])
            state.buffered.removeAll(keepingCapacity: true)
            state.readIndex = 0
            return (elements, state.failure, state.isOver)
        }
        if elements.isEmpty {
            if let failure { throw failure }
            return isOver ? nil : []
        }
        grantAgain(
            elements.reduce(0) { sum, element in
                if case .data(_, let bytes) = element { sum + bytes.count } else { sum }
            })
        return elements
    }

    private func grantAgain(_ count: Int) {
        let grant = state.withLock { state -> Int in
            state.taken += count
            guard !state.isOver, state.taken >= window / 4 else { return 0 }
            defer { state.taken = 0 }
            state.granted += state.taken
            return state.taken
        }
        if grant > 0 { connection.send(.credit(stream: id, bytes: UInt32(grant))) }
    }

    // MARK: Sending

    /// Sends data; returns when all of it is on its way, waiting for the guest to take what came before.
    package func send(_ bytes: some Collection<UInt8> & Sendable) async throws {
        var rest = Array(bytes)[...]
        while !rest.isEmpty {
            let allowed = try await waitForCredit(upTo: Swift.min(rest.count, Frame.dataChunk))
            let piece = rest.prefix(allowed)
            rest = rest.dropFirst(allowed)
            connection.send(Frame(stream: id, kind: .data, payload: Array(piece)))
        }
    }

    /// Says that no more data comes.
    package func finish() {
        guard !state.withLock({ $0.isOver }) else { return }
        connection.send(Frame(stream: id, kind: .end))
    }

    /// Says that the operation is not wanted any more; nothing further comes of it.
    package func cancel() {
        fail(MartletError(.failedPrecondition, "guest: the operation was cancelled"))
        connection.release(stream: id)
    }

    private func waitForCredit(upTo wanted: Int) async throws -> Int {
        while true {
            try Task.checkCancellation()
            let taken = try state.withLock { state throws(MartletError) -> Int in
                if let failure = state.failure { throw failure }
                if state.isOver { throw MartletError(.failedPrecondition, "send: the operation is over") }
                let count = Swift.min(wanted, state.sendCredit)
                state.sendCredit -= count
                return count
            }
            if taken > 0 { return taken }
            try await withTaskCancellationHandler {
                try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
                    let goOn = state.withLock { state in
                        if state.sendCredit > 0 || state.isOver || state.failure != nil || Task.isCancelled {
                            return true
                        }
                        state.sender = continuation
                        return false
                    }
                    if goOn { continuation.resume() }
                }
            } onCancel: {
                let sender = state.withLock { state in
                    defer { state.sender = nil }
                    return state.sender
                }
                sender?.resume(throwing: CancellationError())
            }
        }
    }

    // MARK: From the connection

    /// Takes a frame of this stream; throws on what no honest guest sends.
    func receive(_ frame: Frame) throws(GuestViolation) {
        switch frame.kind {
        case .reply:
            let fits = state.withLock { state in
                state.repliesLeft -= 1
                return state.repliesLeft >= 0
            }
            guard fits else { throw GuestViolation("more replies than any operation has") }
            deliver(.reply(frame.payload))
        case .data:
            guard !frame.payload.isEmpty else { throw GuestViolation("an empty data frame") }
            let fits = state.withLock { state in
                state.granted -= frame.payload.count
                return state.granted >= 0
            }
            guard fits else { throw GuestViolation("more data than was granted") }
            deliver(.data(flags: frame.flags, bytes: frame.payload))
        case .credit:
            var reader = WireReader(frame.payload)
            guard let bytes = try? reader.u32() else { throw GuestViolation("a credit frame without a number") }
            let sender = state.withLock { state in
                state.sendCredit = Swift.min(state.sendCredit + Int(bytes), 1 << 30)
                defer { state.sender = nil }
                return state.sender
            }
            sender?.resume()
        case .end: deliver(.end(frame.payload))
        case .fail:
            guard let failure = try? GuestFailure(decoding: frame.payload) else {
                throw GuestViolation("a failure that cannot be read")
            }
            fail(failure.martletError)
        case .open, .cancel: throw GuestViolation("a frame only the host sends")
        }
    }

    private func deliver(_ element: Element) {
        let (reader, sender) = state.withLock { state in
            if case .end = element { state.isOver = true }
            let reader = state.reader
            state.reader = nil
            if reader == nil { state.buffered.append(element) }
            var sender: CheckedContinuation<Void, any Error>?
            if state.isOver {
                sender = state.sender
                state.sender = nil
            }
            return (reader, sender)
        }
        reader?.resume(returning: element)
        sender?.resume()
    }

    func fail(_ error: MartletError) {
        let (reader, sender) = state.withLock { state in
            guard !state.isOver else { return (state.reader, state.sender) }
            state.failure = error
            state.isOver = true
            defer {
                state.reader = nil
                state.sender = nil
            }
            return (state.reader, state.sender)
        }
        reader?.resume(throwing: error)
        sender?.resume(throwing: error)
    }
}

/// Something no honest agent does; the connection is closed over it.
struct GuestViolation: Error {
    var what: String
    init(_ what: String) { self.what = what }
}
