import CLinux
import Glibc
import Synchronization

/// Tells when processes end, whoever started them: one thread waiting on all their pidfds.
public final class ExitWatcher: Sendable {
    /// The watcher of this program; a thread is started on first use.
    public static let shared = ExitWatcher()

    private let epoll: Int32
    private let state = Mutex(State())

    private struct State {
        var nextTag: UInt64 = 1
        /// Cancelled before the wait began.
        var abandoned: Set<UInt64> = []
        var waiting: [UInt64: Waiter] = [:]
    }

    private struct Waiter {
        var handle: ProcessHandle
        /// A duplicate of the handle's pidfd for this waiter alone: epoll takes a descriptor once, and one waiter's
        /// leaving must not end another's watch. (To open the process again would not do: its leader may be a zombie
        /// while its other threads are still ending.)
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
                Unmanaged<ExitWatcher>.fromOpaque(argument!).takeRetainedValue().run()
                return nil
            }, watcher.toOpaque())
        pthread_detach(thread)
    }

    /// Returns when the process has ended; a child of ours is reaped. Cancelling the task does not end the wait.
    public func waitUntilEnded(_ handle: ProcessHandle) async { await wait(handle, makeTag()) }

    /// Returns when the process has ended or the task is cancelled.
    public func waitUntilEndedOrCancelled(_ handle: ProcessHandle) async {
        let tag = makeTag()
        await withTaskCancellationHandler {
            await wait(handle, tag)
        } onCancel: {
            abandon(tag)
        }
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

    private func wait(_ handle: ProcessHandle, _ tag: UInt64) async {
        await withCheckedContinuation { continuation in
            let duplicate = fcntl(handle.pidfd.number, F_DUPFD_CLOEXEC, 0)
            // Out of descriptors: the first waiter at least can use the one there is.
            let descriptor = duplicate >= 0 ? Descriptor(owning: duplicate) : handle.pidfd
            let isAbandoned = state.withLock { state in
                if state.abandoned.remove(tag) != nil { return true }
                state.waiting[tag] = Waiter(handle: handle, descriptor: descriptor, continuation: continuation)
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
        entry.handle.reap()
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
