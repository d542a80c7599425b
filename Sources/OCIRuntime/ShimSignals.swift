import Dispatch
import Glibc

/// Signals that are sent to the shim itself; they are the container's.
final class ShimSignals: Sendable {
    let stream: AsyncStream<Int32>
    private let sources: [Source]

    /// SAFETY: a dispatch source is thread-safe; it is only kept here so that it stays active.
    private struct Source: @unchecked Sendable {
        let source: any DispatchSourceSignal
    }

    init() {
        let (stream, continuation) = AsyncStream<Int32>.makeStream(bufferingPolicy: .bufferingNewest(64))
        self.stream = stream
        let queue = DispatchQueue(label: "signals")
        sources = [SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH].map { number in
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: queue)
            source.setEventHandler { continuation.yield(number) }
            source.activate()
            return Source(source: source)
        }
    }
}
