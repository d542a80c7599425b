import CLinux
import Glibc
import LinuxSystem

/// Ends the largest program when programs have so little memory left that they do nothing but read their own files
/// again. The kernel ends one only when it finds nothing to drop; an emulated guest then stands still for minutes.
final class MemoryGuard {
    private let group: String
    private let limit: UInt64
    private let loop: EventLoop
    private let log: @Sendable (String) -> Void
    private var events: Descriptor?
    private var watch: Watch?
    private var timer: LoopTimer?

    /// - Parameter group: the version 2 control group all programs live in.
    /// - Returns: nil where it has no limit or the kernel does not tell.
    init?(controlGroup group: String, loop: EventLoop, log: @escaping @Sendable (String) -> Void) {
        guard let text = try? AtomicFile.read("\(group)/memory.max", limit: 64),
            let limit = UInt64(String(decoding: text.filter { $0 > 32 }, as: UTF8.self))
        else { return nil }
        self.group = group
        self.limit = limit
        self.loop = loop
        self.log = log
        guard pressure != nil else { return nil }
        listen()
    }

    private var pressure: MemoryPressure? {
        (try? AtomicFile.read("\(group)/memory.stat")).flatMap { MemoryPressure(stat: $0, limit: limit) }
    }

    /// Waits for the kernel to have looked for memory; not before, since that happens many times a second then.
    private func listen() {
        do throws(SystemError) {
            let events = try ControlGroup.watch("\(group)/memory.events")
            watch = try loop.watch(events.number, UInt32(CLINUX_EVENT_READ)) { [unowned self] _ in notice() }
            self.events = events
        } catch {
            log("out of memory may be noticed late: \(error)")
        }
    }

    private func notice() {
        watch?.stop()
        watch = nil
        events = nil
        let before = pressure
        timer = loop.after(milliseconds: MemoryPressure.intervalMilliseconds) { [unowned self] in
            if let before, pressure?.isThrashing(since: before) == true { endLargest() }
            listen()
        }
    }

    private func endLargest() {
        guard let proc = DirectoryReader(path: "/proc") else { return }
        var pids: [pid_t] = []
        // What is in the kernel has no memory of its own, and the agent is the first.
        while let name = proc.next() { if let pid = pid_t(name), pid > 1 { pids.append(pid) } }
        guard let largest = MemoryPressure.largest(of: pids) else { return }
        _ = clinux_kill(largest, SIGKILL)
        log("out of memory: process \(largest) was ended")
    }
}
