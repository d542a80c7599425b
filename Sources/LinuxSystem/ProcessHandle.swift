import CLinux
import Glibc

/// A process named so that a recycled pid is never mistaken for it: pid, start time, and a pidfd.
///
/// Works for children and for processes of an earlier daemon alike.
public final class ProcessHandle: Sendable {
    /// What is written down to find the process again.
    public struct Identity: Sendable, Codable, Equatable {
        public var pid: Int32
        /// Clock ticks after boot, field 22 of /proc/PID/stat.
        public var startTime: UInt64
        /// The boot it belongs to, since start times repeat after a reboot.
        public var bootID: String

        public init(pid: Int32, startTime: UInt64, bootID: String) {
            self.pid = pid
            self.startTime = startTime
            self.bootID = bootID
        }
    }

    public let identity: Identity
    /// Readable once the process has ended.
    public let pidfd: Descriptor

    private init(identity: Identity, pidfd: Descriptor) {
        self.identity = identity
        self.pidfd = pidfd
    }

    public var pid: pid_t { identity.pid }

    /// Takes hold of a process by pid.
    ///
    /// - Throws: `ESRCH` when there is none.
    public static func open(pid: pid_t) throws(SystemError) -> ProcessHandle {
        let pidfd = Descriptor(owning: try SystemError.check(clinux_pidfd_open(pid), "pidfd_open", "\(pid)"))
        guard let startTime = startTime(of: pid) else { throw SystemError("stat", "process \(pid)", errno: ESRCH) }
        return ProcessHandle(identity: Identity(pid: pid, startTime: startTime, bootID: bootID), pidfd: pidfd)
    }

    /// Takes hold of the very process that was written down, or nil if it has ended.
    public static func reopen(_ identity: Identity) -> ProcessHandle? {
        guard identity.bootID == bootID, let handle = try? open(pid: identity.pid), handle.identity == identity
        else { return nil }
        return handle
    }

    /// Sends a signal; a process that has ended is no error.
    public func signal(_ number: Int32) {
        _ = clinux_pidfd_send_signal(pidfd.number, number)
    }

    /// Whether the process has ended (a zombie counts).
    public var hasEnded: Bool { clinux_poll_one(pidfd.number, Int16(POLLIN), 0) > 0 }

    /// Waits up to the given time for the end; blocks the thread. True if it has ended.
    public func waitForEnd(milliseconds: Int32) -> Bool {
        clinux_poll_one(pidfd.number, Int16(POLLIN), milliseconds) > 0
    }

    /// Reaps the process if it is a child of ours and has ended.
    public func reap() { _ = clinux_pidfd_reap(pidfd.number) }

    /// Bytes of memory only this process holds, and its fair share of all it maps.
    public func memory() throws(SystemError) -> (private: UInt64, proportional: UInt64) {
        var own: UInt64 = 0
        var share: UInt64 = 0
        try SystemError.check(clinux_process_memory(pid, &own, &share), "smaps_rollup", "process \(pid)")
        return (own, share)
    }

    private static func startTime(of pid: pid_t) -> UInt64? {
        guard let file = try? Descriptor.open("/proc/\(pid)/stat", O_RDONLY),
            let bytes = try? file.readAll(limit: 4096)
        else { return nil }
        // The command name may hold anything, spaces and parentheses too; what follows the last ')' is fixed.
        guard let close = bytes.lastIndex(of: UInt8(ascii: ")")) else { return nil }
        let fields = bytes[(close + 1)...].split(separator: UInt8(ascii: " "))
        guard fields.count > 19, fields[0] != [UInt8(ascii: "Z")] else { return nil }
        return UInt64(String(decoding: fields[19], as: UTF8.self))
    }

    /// The kernel's name for this boot.
    public static let bootID: String = {
        guard let file = try? Descriptor.open("/proc/sys/kernel/random/boot_id", O_RDONLY),
            let bytes = try? file.readAll(limit: 64)
        else { return "" }
        return String(decoding: bytes.filter { $0 > 32 }, as: UTF8.self)
    }()
}
