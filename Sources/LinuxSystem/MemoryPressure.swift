import Glibc

/// What a control group does with the memory it may have, at one moment.
///
/// A group that is nearly out of memory need not come to the point where the kernel ends one of its programs: as long as
/// programs read their own files again the kernel finds pages to drop, those of the program's own code above all, and
/// all of them stand still for minutes, busy reading. That is what this is to tell.
public struct MemoryPressure: Sendable, Equatable {
    /// Bytes of files in memory, which can be dropped and read again.
    public var fileBytes: UInt64
    /// Pages of files that had been dropped and were read again, since the group was made.
    public var refaultedPages: UInt64
    /// Bytes the group may have.
    public var limitBytes: UInt64

    /// - Parameters:
    ///   - stat: the group's `memory.stat`, of either version (see cgroup-v1/memory.rst and cgroup-v2.rst of the kernel).
    ///   - limit: the group's limit in bytes.
    /// - Returns: nil where the kernel (before 5.9) does not count what is needed.
    public init?(stat: [UInt8], limit: UInt64) {
        var values: [Substring: UInt64] = [:]
        for line in String(decoding: stat, as: UTF8.self).split(separator: "\n") {
            let words = line.split(separator: " ")
            if words.count == 2, let value = UInt64(words[1]) { values[words[0]] = value }
        }
        guard let files = values["file"] ?? values["cache"], let refaulted = values["workingset_refault_file"] else {
            return nil
        }
        // Files in memory file systems count as files, but there is nowhere to read them again from.
        fileBytes = files - min(files, values["shmem"] ?? 0)
        refaultedPages = refaulted
        limitBytes = limit
    }

    init(fileBytes: UInt64, refaultedPages: UInt64, limitBytes: UInt64) {
        self.fileBytes = fileBytes
        self.refaultedPages = refaultedPages
        self.limitBytes = limitBytes
    }

    /// How long it takes to tell, in milliseconds: between the two looks that `isThrashing` compares.
    public static let intervalMilliseconds: UInt64 = 500
    /// Programs whose files fit in this go on, however small the rest is.
    private static let smallest: UInt64 = 4 << 20
    private static let largest: UInt64 = 16 << 20

    /// Whether programs do little but read again what was dropped a moment ago: next to nothing is left for files, and since
    /// `earlier` all of it has been read anew several times.
    public func isThrashing(since earlier: MemoryPressure) -> Bool {
        let room = max(fileBytes, earlier.fileBytes)
        guard room < max(MemoryPressure.smallest, min(limitBytes / 64, MemoryPressure.largest)),
            refaultedPages > earlier.refaultedPages
        else { return false }
        let read = (refaultedPages - earlier.refaultedPages) * UInt64(sysconf(Int32(_SC_PAGESIZE)))
        return read > 4 * max(room, 1 << 18)
    }

    /// The process with the most memory of its own; nil when none is there any more.
    public static func largest(of pids: some Sequence<pid_t>) -> pid_t? {
        var found: (pid: pid_t, pages: UInt64)?
        for pid in pids {
            guard let bytes = try? AtomicFile.read("/proc/\(pid)/statm", limit: 256) else { continue }
            // Pages: size, resident, shared with files.
            let words = bytes.split(separator: 32).map { UInt64(String(decoding: $0, as: UTF8.self)) ?? 0 }
            guard words.count > 2 else { continue }
            let pages = words[1] - min(words[1], words[2])
            if pages > found?.pages ?? 0 { found = (pid, pages) }
        }
        return found?.pid
    }
}
