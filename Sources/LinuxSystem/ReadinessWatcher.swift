import CLinux
import Glibc
import Synchronization

/// Tells when descriptors can be read: one thread waiting on all of them.
public final class ReadinessWatcher: Sendable {
    /// The watcher of this program; a thread is started on first use.
    public static let shared = ReadinessWatcher()

    private let epoll: Int32
    private let state = Mutex(State())

    private struct State {
        var nextTag: UInt64 = 1
        /// Cancelled before the wait began.
        var abandoned: Set<UInt64> = []
        var waiting: [UInt64: Waiter] = [:]
    }

    private struct Waiter {
        /// A duplicate for this waiter alone: epoll takes a descriptor once, and one waiter's leaving must not end
        /// another's watch.
        var descriptor: Descriptor
        var continuation: CheckedContinuation<Void, Never>
    }

    private init() {
        epoll = clinux_epoll_create()
        let watcher = Unmanaged.passRetained(self)
        var thread = pthread_t()
        pthread_create(
            &thread, nil,
            { argument in
                Unmanaged<ReadinessWatcher>.fromOpaque(argument!).takeRetainedValue().run()
                return nil
            }, watcher.toOpaque())
        pthread_detach(thread)
    }

    /// Returns when the descriptor can be read, or cannot be waited for. Cancelling the task does not end the wait.
    public func waitUntilReadable(_ descriptor: Descriptor) async { await wait(descriptor, makeTag()) }

    /// Returns when the descriptor can be read, or cannot be waited for, or the task is cancelled.
    public func waitUntilReadableOrCancelled(_ descriptor: Descriptor) async {
        let tag = makeTag()
        await withTaskCancellationHandler {
            await wait(descriptor, tag)
        } onCancel: {
            abandon(tag)
        }
        // Called off in the very moment it had ended.
        state.withLock { _ = $0.abandoned.remove(tag) }
    }

    private func makeTag() -> UInt64 {
        state.withLock { state in
            defer { state.nextTag += 1 }
            return state.nextTag
        }
    }

    private func abandon(_ tag: UInt64) {
        let entry = state.withLock { state in
            let entry = state.waiting.removeValue(forKey: tag)
            if entry == nil { state.abandoned.insert(tag) }
            return entry
        }
        guard let entry else { return }
        _ = clinux_epoll_control(epoll, 2, entry.descriptor.number, 0, 0)
        entry.continuation.resume()
    }

    private func wait(_ watched: Descriptor, _ tag: UInt64) async {
        await withCheckedContinuation { continuation in
            let duplicate = fcntl(watched.number, F_DUPFD_CLOEXEC, 0)
            // Out of descriptors: the first waiter at least can use the one there is.
            let descriptor = duplicate >= 0 ? Descriptor(owning: duplicate) : watched
            let isAbandoned = state.withLock { state in
                if state.abandoned.remove(tag) != nil { return true }
                state.waiting[tag] = Waiter(descriptor: descriptor, continuation: continuation)
                return false
            }
            if isAbandoned { return continuation.resume() }
            let added = clinux_epoll_control(epoll, 1, descriptor.number, UInt32(CLINUX_EVENT_READ) | 1 << 30, tag)
            if added < 0 { finish(tag, isWatched: false) }
            withExtendedLifetime(descriptor) {}
        }
    }

    private func finish(_ tag: UInt64, isWatched: Bool = true) {
        guard let entry = state.withLock({ $0.waiting.removeValue(forKey: tag) }) else { return }
        if isWatched { _ = clinux_epoll_control(epoll, 2, entry.descriptor.number, 0, 0) }
        entry.continuation.resume()
    }

    private func run() {
        var events = [clinux_event](repeating: clinux_event(), count: 64)
        while true {
            let count = clinux_epoll_wait(epoll, &events, 64, -1)
            guard count >= 0 else { return }
            for event in events.prefix(Int(count)) { finish(event.tag) }
        }
    }
}
