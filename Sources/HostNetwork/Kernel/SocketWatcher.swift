import CLinux
import Glibc
import LinuxSystem
import Synchronization

/// One thread that waits for any number of descriptors at once, and for moments in time.
final class SocketWatcher: Sendable {
    enum Event: Sendable {
        /// Readable, writable or broken: the descriptor tells.
        case ready
        case timeout
    }

    /// Names a watch.
    struct Watch: Hashable, Sendable {
        fileprivate var tag: UInt64
    }

    fileprivate struct Entry {
        var descriptor: Descriptor?
        /// In nanoseconds of the monotonic clock.
        var deadline: Int64?
        var isOnce: Bool
        var handler: @Sendable (Event) -> Void
    }

    fileprivate struct State {
        var nextTag: UInt64 = 1
        var entries: [UInt64: Entry] = [:]
        var isClosed = false
    }

    /// What the thread holds, so that the watcher itself can go while it waits.
    private final class Core: Sendable {
        let state = Mutex(State())
        let epoll: Descriptor
        let name: String
        /// Readable when the thread is to look at its state again.
        let bell: (reading: Descriptor, writing: Descriptor)

        init(name: String) throws(SystemError) {
            self.name = name
            epoll = Descriptor(owning: try SystemError.check(clinux_epoll_create(), "epoll_create"))
            var ends: [Int32] = [-1, -1]
            try SystemError.check(clinux_pipe(&ends, O_NONBLOCK), "pipe")
            bell = (Descriptor(owning: ends[0]), Descriptor(owning: ends[1]))
            let added = clinux_epoll_control(epoll.number, 1, bell.reading.number, UInt32(CLINUX_EVENT_READ), 0)
            try SystemError.check(added, "epoll_ctl")
        }

        func ring() { _ = clinux_write(bell.writing.number, [1], 1) }
    }

    private let core: Core

    init(name: String) throws(SystemError) {
        core = try Core(name: name)
        let start = Unmanaged.passRetained(core)
        var thread = pthread_t()
        let result = pthread_create(
            &thread, nil,
            { argument in
                SocketWatcher.run(Unmanaged<Core>.fromOpaque(argument!).takeRetainedValue())
                return nil
            }, start.toOpaque())
        guard result == 0 else {
            start.release()
            throw SystemError("pthread_create", name, errno: result)
        }
        pthread_detach(thread)
    }

    deinit {
        core.state.withLock { $0.isClosed = true }
        core.ring()
    }

    /// Watches there are.
    var count: Int { core.state.withLock { $0.entries.count } }

    // MARK: Watching

    /// Calls `handler` on the watcher's thread each time the descriptor can be read from, until `cancel`.
    func whenReadable(
        _ descriptor: Descriptor, _ handler: @escaping @Sendable (Event) -> Void
    ) throws(SystemError) -> Watch {
        try add(
            Entry(descriptor: descriptor, deadline: nil, isOnce: false, handler: handler),
            events: UInt32(CLINUX_EVENT_READ))
    }

    /// Calls `handler` once, after a time.
    @discardableResult
    func after(nanoseconds: Int64, _ handler: @escaping @Sendable () -> Void) -> Watch {
        let deadline = clinux_monotonic_ns() + nanoseconds
        let tag = core.state.withLock { state in
            state.add(Entry(descriptor: nil, deadline: deadline, isOnce: true, handler: { _ in handler() }))
        }
        core.ring()
        return Watch(tag: tag)
    }

    /// Returns when the descriptor can be written to, or is broken.
    ///
    /// - Throws: ETIMEDOUT; `CancellationError` when the task is cancelled.
    func waitUntilWritable(_ descriptor: Descriptor, timeout: Duration) async throws {
        let (seconds, attoseconds) = timeout.components
        let bounded = min(max(seconds, 0), 3600) * 1_000_000_000 + attoseconds / 1_000_000_000
        let outcome = Outcome()
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                guard outcome.begin(continuation) else { return }
                let entry = Entry(
                    descriptor: descriptor, deadline: clinux_monotonic_ns() + bounded, isOnce: true,
                    handler: { event in
                        outcome.end(
                            event == .ready
                                ? .success(()) : .failure(SystemError("connect", "socket", errno: ETIMEDOUT)))
                    })
                do {
                    let watch = try add(entry, events: UInt32(CLINUX_EVENT_WRITE) | 1 << 30)
                    core.ring()
                    if outcome.watched(watch) { cancel(watch) }
                } catch {
                    outcome.end(.failure(error))
                }
            }
        } onCancel: {
            if let watch = outcome.end(.failure(CancellationError())) { cancel(watch) }
        }
    }

    /// Ends a watch; its handler may be running one last time.
    func cancel(_ watch: Watch) {
        guard let entry = core.state.withLock({ $0.entries.removeValue(forKey: watch.tag) }) else { return }
        if let descriptor = entry.descriptor { _ = clinux_epoll_control(core.epoll.number, 2, descriptor.number, 0, 0) }
    }

    private func add(_ entry: Entry, events: UInt32) throws(SystemError) -> Watch {
        guard let descriptor = entry.descriptor else { return Watch(tag: 0) }
        let tag = core.state.withLock { $0.add(entry) }
        let added = clinux_epoll_control(core.epoll.number, 1, descriptor.number, events, tag)
        guard added < 0 else { return Watch(tag: tag) }
        core.state.withLock { _ = $0.entries.removeValue(forKey: tag) }
        throw SystemError("epoll_ctl", "descriptor \(descriptor.number)", errno: -added)
    }

    // MARK: The thread

    private static func run(_ core: Core) {
        _ = clinux_name_thread(core.name)
        var events = [clinux_event](repeating: clinux_event(), count: 64)
        while true {
            let (wait, isClosed) = core.state.withLock { state in
                (state.wait(now: clinux_monotonic_ns()), state.isClosed)
            }
            if isClosed { return }
            let count = clinux_epoll_wait(core.epoll.number, &events, 64, wait)
            for event in events.prefix(Int(max(0, count))) {
                if event.tag == 0 {
                    var bytes = [UInt8](repeating: 0, count: 64)
                    while clinux_read(core.bell.reading.number, &bytes, bytes.count) > 0 {}
                } else {
                    finish(event.tag, core)
                }
            }
            let due = core.state.withLock { $0.takeDue(now: clinux_monotonic_ns()) }
            for entry in due {
                if let descriptor = entry.descriptor {
                    _ = clinux_epoll_control(core.epoll.number, 2, descriptor.number, 0, 0)
                }
                entry.handler(.timeout)
            }
        }
    }

    private static func finish(_ tag: UInt64, _ core: Core) {
        let entry = core.state.withLock { state in
            state.entries[tag]?.isOnce == true ? state.entries.removeValue(forKey: tag) : state.entries[tag]
        }
        guard let entry else { return }
        if entry.isOnce, let descriptor = entry.descriptor {
            _ = clinux_epoll_control(core.epoll.number, 2, descriptor.number, 0, 0)
        }
        entry.handler(.ready)
    }
}

extension SocketWatcher.State {
    fileprivate mutating func add(_ entry: SocketWatcher.Entry) -> UInt64 {
        defer { nextTag += 1 }
        entries[nextTag] = entry
        return nextTag
    }

    /// Milliseconds until the next deadline; -1 when there is none.
    fileprivate func wait(now: Int64) -> Int32 {
        guard let next = entries.values.compactMap(\.deadline).min() else { return -1 }
        return Int32(clamping: max(0, (next - now + 999_999) / 1_000_000))
    }

    fileprivate mutating func takeDue(now: Int64) -> [SocketWatcher.Entry] {
        let due = entries.filter { ($0.value.deadline ?? .max) <= now }
        for tag in due.keys { entries[tag] = nil }
        return Array(due.values)
    }
}

/// How a wait ended, decided once: by its event, its deadline or its task's end.
private final class Outcome: Sendable {
    fileprivate struct State {
        var continuation: CheckedContinuation<Void, any Error>?
        var watch: SocketWatcher.Watch?
        var result: Result<Void, any Error>?
    }

    private let state = Mutex(State())

    /// False when it is decided already, and the continuation resumed.
    func begin(_ continuation: CheckedContinuation<Void, any Error>) -> Bool {
        let result = state.withLock { state in
            if state.result == nil { state.continuation = continuation }
            return state.result
        }
        if let result { continuation.resume(with: result) }
        return result == nil
    }

    /// True when the watch is no longer wanted.
    func watched(_ watch: SocketWatcher.Watch) -> Bool {
        state.withLock { state in
            state.watch = watch
            return state.result != nil
        }
    }

    @discardableResult
    func end(_ result: Result<Void, any Error>) -> SocketWatcher.Watch? {
        let (continuation, watch) = state.withLock {
            state -> (CheckedContinuation<Void, any Error>?, SocketWatcher.Watch?) in
            guard state.result == nil else { return (nil, nil) }
            state.result = result
            defer { state.continuation = nil }
            return (state.continuation, state.watch)
        }
        continuation?.resume(with: result)
        return watch
    }
}
