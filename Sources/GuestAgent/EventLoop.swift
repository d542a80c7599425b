import CLinux
import LinuxSystem

/// One thread's wait for descriptors and deadlines; everything the agent does happens in its callbacks.
final class EventLoop {
    private let epoll: Descriptor
    private var watches: [UInt64: Watch] = [:]
    private var lastTag: UInt64 = 0
    private var timers: [LoopTimer] = []
    /// Where everything on this thread reads to; its content is used before the callback returns.
    let scratch = UnsafeMutableRawBufferPointer.allocate(byteCount: 65_536, alignment: 16)
    private var ready = [clinux_event](repeating: clinux_event(), count: 64)

    init() throws(SystemError) {
        epoll = Descriptor(owning: try SystemError.check(clinux_epoll_create(), "epoll_create1"))
    }

    deinit { scratch.deallocate() }

    /// Calls `action` with the events seen on `descriptor`, until the watch is stopped.
    func watch(
        _ descriptor: Int32, _ events: UInt32, _ action: @escaping (UInt32) -> Void
    ) throws(SystemError) -> Watch {
        lastTag += 1
        let tag = lastTag
        try SystemError.check(
            clinux_epoll_control(epoll.number, 1, descriptor, events, tag), "epoll_ctl", "descriptor \(descriptor)")
        let watch = Watch(loop: self, descriptor: descriptor, tag: tag, action: action)
        watches[tag] = watch
        return watch
    }

    /// Calls `action` once, after the given time, unless the timer is cancelled first.
    func after(milliseconds: UInt64, _ action: @escaping () -> Void) -> LoopTimer {
        let delay = Int64(clamping: milliseconds.multipliedReportingOverflow(by: 1_000_000).partialValue)
        // A delay of centuries would overflow the clock; it never comes.
        let nanoseconds = milliseconds > 1 << 43 ? Int64.max / 2 : delay
        let timer = LoopTimer(deadline: Clocks.monotonicNanoseconds + nanoseconds, action: action)
        timers.append(timer)
        return timer
    }

    /// Waits for the next event or deadline and runs what is due. With `poll`, it only looks.
    func turn(poll: Bool) {
        let count = clinux_epoll_wait(epoll.number, &ready, Int32(ready.count), poll ? 0 : timeoutMilliseconds())
        if count > 0 {
            for index in 0..<Int(count) {
                // A watch stopped by an earlier event of this very turn is no longer in the table.
                watches[ready[index].tag]?.action(ready[index].events)
            }
        }
        if !timers.isEmpty { fireTimers() }
    }

    /// Forgets every watch and timer, and with them what their callbacks hold.
    func clear() {
        for watch in watches.values { watch.stop() }
        watches = [:]
        timers = []
    }

    private func timeoutMilliseconds() -> Int32 {
        guard let next = timers.lazy.filter({ !$0.isCancelled }).map(\.deadline).min() else { return -1 }
        let left = next - Clocks.monotonicNanoseconds
        return left <= 0 ? 0 : Int32(clamping: (left + 999_999) / 1_000_000)
    }

    private func fireTimers() {
        let now = Clocks.monotonicNanoseconds
        var due: [LoopTimer] = []
        timers.removeAll { timer in
            if timer.isCancelled { return true }
            if timer.deadline <= now {
                due.append(timer)
                return true
            }
            return false
        }
        for timer in due where !timer.isCancelled { timer.action() }
    }

    fileprivate func remove(_ watch: Watch) {
        _ = clinux_epoll_control(epoll.number, 2, watch.descriptor, 0, 0)
        watches[watch.tag] = nil
    }
}

/// A descriptor the loop waits for.
final class Watch {
    fileprivate let descriptor: Int32
    fileprivate let tag: UInt64
    fileprivate let action: (UInt32) -> Void
    private weak var loop: EventLoop?

    fileprivate init(loop: EventLoop, descriptor: Int32, tag: UInt64, action: @escaping (UInt32) -> Void) {
        self.loop = loop
        self.descriptor = descriptor
        self.tag = tag
        self.action = action
    }

    /// Ends the watch; to be called before the descriptor is closed.
    func stop() {
        loop?.remove(self)
        loop = nil
    }
}

/// A deadline the loop keeps.
final class LoopTimer {
    fileprivate let deadline: Int64
    fileprivate let action: () -> Void
    private(set) var isCancelled = false

    fileprivate init(deadline: Int64, action: @escaping () -> Void) {
        self.deadline = deadline
        self.action = action
    }

    func cancel() { isCancelled = true }
}
