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
        var waiting: [UInt64: (handle: ProcessHandle, continuation: CheckedContinuation<Void, Never>)] = [:]
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
        _ = clinux_epoll_control(epoll, 2, entry.handle.pidfd.number, 0, 0)
        entry.continuation.resume()
    }

    private func wait(_ handle: ProcessHandle, _ tag: UInt64) async {
        await withCheckedContinuation { continuation in
            let isAbandoned = state.withLock { state in
                if state.abandoned.remove(tag) != nil { return true }
                state.waiting[tag] = (handle, continuation)
                return false
            }
            if isAbandoned { return continuation.resume() }
            let added = clinux_epoll_control(epoll, 1, handle.pidfd.number, UInt32(CLINUX_EVENT_READ) | 1 << 30, tag)
            // Several waiters may watch one process, but epoll takes a descriptor once: those after the first get
            // a duplicate of their own.
            if added < 0 { finish(tag, watchDuplicate: true) }
        }
    }

    private func finish(_ tag: UInt64, watchDuplicate: Bool = false) {
        if watchDuplicate {
            let pid = state.withLock { $0.waiting[tag]?.handle.pid }
            if let pid, let other = try? ProcessHandle.open(pid: pid) {
                let replaced = state.withLock { state -> Bool in
                    guard let entry = state.waiting[tag], entry.handle.identity == other.identity else { return false }
                    state.waiting[tag] = (other, entry.continuation)
                    return true
                }
                if replaced,
                    clinux_epoll_control(epoll, 1, other.pidfd.number, UInt32(CLINUX_EVENT_READ) | 1 << 30, tag) >= 0
                {
                    return
                }
            }
        }
        guard let entry = state.withLock({ $0.waiting.removeValue(forKey: tag) }) else { return }
        _ = clinux_epoll_control(epoll, 2, entry.handle.pidfd.number, 0, 0)
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
