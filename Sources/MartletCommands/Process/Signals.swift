import Dispatch
import Glibc
import Synchronization

/// Signals that are sent to us, as a stream; from the moment this exists they no longer end the process.
final class Signals: Sendable {
    /// The signals in their order; those that came before somebody listened are kept.
    let stream: AsyncStream<Int32>
    private let state = Mutex(State())
    private let sources: [Source]

    /// SAFETY: a dispatch source is thread-safe; it is only kept here so that it stays active.
    private struct Source: @unchecked Sendable {
        let source: any DispatchSourceSignal
    }

    private struct State {
        var interruptions: [Int32] = []
        var patience = 1
    }

    /// - Parameter numbers: which signals to catch; `SIGWINCH` is not counted as an interruption.
    init(_ numbers: [Int32] = [SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH]) {
        let (stream, continuation) = AsyncStream<Int32>.makeStream(bufferingPolicy: .bufferingNewest(64))
        self.stream = stream
        let queue = DispatchQueue(label: "signals")
        sources = numbers.map { number in
            signal(number, SIG_IGN)
            return Source(source: DispatchSource.makeSignalSource(signal: number, queue: queue))
        }
        for (number, source) in zip(numbers, sources) {
            source.source.setEventHandler { [weak self] in
                continuation.yield(number)
                if number != SIGWINCH { self?.interrupted(by: number) }
            }
            source.source.activate()
        }
    }

    /// The first signal that asked us to end; nil if none did.
    var interruption: Int32? { state.withLock { $0.interruptions.first } }

    /// How many interruptions are taken calmly; one more ends the process where it stands.
    func setPatience(_ count: Int) { state.withLock { $0.patience = count } }

    private func interrupted(by number: Int32) {
        let isTooMuch = state.withLock { state in
            state.interruptions.append(number)
            return state.interruptions.count > state.patience
        }
        if isTooMuch { CommandLineProgram.leave(128 + number) }
    }
}
