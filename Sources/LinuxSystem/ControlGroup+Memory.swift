import CLinux
import Glibc

extension ControlGroup {
    /// What it does with its memory; nil where it is gone, has no limit, or the kernel does not tell.
    public func memoryPressure() -> MemoryPressure? {
        guard let stat = file(.memory, "memory.stat", "memory.stat"),
            let max = file(.memory, "memory.limit_in_bytes", "memory.max"),
            let bytes = try? AtomicFile.read(stat), let text = try? AtomicFile.read(max, limit: 64),
            let limit = UInt64(String(decoding: text.filter { $0 > 32 }, as: UTF8.self))
        else { return nil }
        return MemoryPressure(stat: bytes, limit: limit)
    }

    /// Something that can be read whenever the kernel has had to look for memory in the group, and when the group goes.
    ///
    /// - Throws: `SystemError` where the host does not tell.
    public func openMemoryPressure() throws(SystemError) -> Descriptor {
        guard let events = file(.memory, "memory.pressure_level", "memory.events") else {
            throw SystemError("watch", "memory of \(name)", errno: ENOTSUP)
        }
        guard !isVersionTwo(.memory) else { return try ControlGroup.watch(events) }
        let counter = Descriptor(owning: try SystemError.check(clinux_eventfd(), "eventfd"))
        let level = try Descriptor.open(events, O_RDONLY)
        // cgroup-v1/memory.rst, "Memory Pressure".
        let control = events.prefix(events.count - "memory.pressure_level".count) + "cgroup.event_control"
        try ControlGroup.write("\(counter.number) \(level.number) low", to: String(control))
        return counter
    }

    /// Something that can be read once a file of version 2, one that tells of events, has changed.
    public static func watch(_ events: String) throws(SystemError) -> Descriptor {
        let watch = Descriptor(owning: try SystemError.check(clinux_inotify_create(), "inotify_init1"))
        try SystemError.check(clinux_inotify_add(watch.number, events, UInt32(IN_MODIFY)), "watch", events)
        return watch
    }

    /// The processes in it that are neither its first one, which all others go with, nor outside its pid namespace.
    public func programs() -> [pid_t] {
        processes().filter { pid in
            let status = (try? AtomicFile.read("/proc/\(pid)/status", limit: 1 << 14)) ?? []
            let line = status.split(separator: 10).first { $0.starts(with: Array("NSpid:".utf8)) }
            // NSpid: the pid here, and in each namespace below.
            let words = (line ?? []).split { $0 == 9 || $0 == 32 }.dropFirst()
            return words.count > 1 && words.last.map(Array.init) != [UInt8(ascii: "1")]
        }
    }
}
