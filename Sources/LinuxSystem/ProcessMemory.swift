import CLinux
import Glibc

/// The pages of a file that another process has mapped privately, and what it has written over them.
///
/// Needs the right to trace the process: the same user (and, under a strict Yama, its parent), or root. The process
/// should be at rest; all of it blocks the thread.
public struct ProcessMemory: Sendable {
    /// Pages next to each other, counted from the start of the file.
    public struct Run: Sendable, Equatable {
        public var page: UInt64
        public var count: UInt64

        public init(page: UInt64, count: UInt64) {
            self.page = page
            self.count = count
        }
    }

    public static let pageSize = 4096

    private let pid: pid_t
    private let start: UInt64
    /// Bytes mapped.
    public let length: UInt64

    /// Which file it is, for as long as somebody has it open or mapped, whatever names it has or loses.
    public struct File: Sendable, Codable, Equatable {
        public var device: UInt64
        public var inode: UInt64

        /// The file at a path.
        public init(path: String) throws(SystemError) {
            var info = stat()
            guard stat(path, &info) == 0 else { throw SystemError("stat", path, errno: errno) }
            device = UInt64(info.st_dev)
            inode = UInt64(info.st_ino)
        }
    }

    /// Finds where the process has mapped a file.
    ///
    /// - Throws: `ENOENT` when it has not, `EACCES` or `EPERM` without the right to look.
    public static func mapping(of file: File, in pid: pid_t) throws(SystemError) -> ProcessMemory {
        var start: UInt64 = 0
        var length: UInt64 = 0
        try SystemError.check(
            clinux_find_mapping(pid, file.device, file.inode, &start, &length), "find mapping",
            "file \(file.inode) in process \(pid)")
        return ProcessMemory(pid: pid, start: start, length: length)
    }

    /// The same for the file at a path.
    public static func mapping(of path: String, in pid: pid_t) throws(SystemError) -> ProcessMemory {
        try mapping(of: File(path: path), in: pid)
    }

    private init(pid: pid_t, start: UInt64, length: UInt64) {
        self.pid = pid
        self.start = start
        self.length = length
    }

    /// The pages that are the process's own by now, in order.
    public func writtenRuns() throws(SystemError) -> [Run] { try runs(clinux_written_pages) }

    /// The same by the older way, which every kernel has.
    func writtenRunsByTable() throws(SystemError) -> [Run] { try runs(clinux_written_pages_by_table) }

    private func runs(
        _ scan: (pid_t, UInt64, UInt64, UnsafeMutablePointer<clinux_page_run>?, Int) -> Int
    ) throws(SystemError) -> [Run] {
        var capacity = 4096
        while true {
            var found = 0
            let list = [clinux_page_run](unsafeUninitializedCapacity: capacity) { buffer, filled in
                found = scan(pid, start, length, buffer.baseAddress, capacity)
                filled = max(0, min(found, capacity))
            }
            try SystemError.check(found, "read page map", "process \(pid)")
            if found <= capacity { return list.map { Run(page: $0.page, count: $0.count) } }
            // A process at rest has as many the next time; one that runs may have some more.
            capacity = found + 1024
        }
    }

    /// Copies pages, one run after another, into a file.
    ///
    /// - Returns: the CRC-32C of what was copied.
    public func copy(_ runs: [Run], to file: Descriptor, at offset: UInt64) throws(SystemError) -> UInt32 {
        var checksum: UInt32 = 0
        let list = runs.map { clinux_page_run(page: $0.page, count: $0.count) }
        try SystemError.check(
            clinux_pages_to_file(pid, start, list, list.count, file.number, offset, &checksum), "copy memory",
            "process \(pid)")
        return checksum
    }

    /// Writes pages over the process's own from a file that has one run after another.
    ///
    /// - Parameter runs: must lie inside the mapping.
    /// - Returns: the CRC-32C of what was copied.
    /// - Throws: `EINVAL` for a run that does not.
    public func fill(_ runs: [Run], from file: Descriptor, at offset: UInt64) throws(SystemError) -> UInt32 {
        let pages = length / UInt64(ProcessMemory.pageSize)
        guard runs.allSatisfy({ $0.count > 0 && $0.count <= pages && $0.page <= pages - $0.count }) else {
            throw SystemError("fill memory", "process \(pid)", errno: EINVAL)
        }
        var checksum: UInt32 = 0
        let list = runs.map { clinux_page_run(page: $0.page, count: $0.count) }
        try SystemError.check(
            clinux_pages_from_file(pid, start, list, list.count, file.number, offset, &checksum), "fill memory",
            "process \(pid)")
        return checksum
    }
}

/// CRC-32C: finds torn and rotten files; says nothing about who wrote them.
public enum Checksum {
    /// Of a file, from an offset to its end; blocks the thread.
    public static func crc32c(of file: Descriptor, from offset: UInt64 = 0) throws(SystemError) -> UInt32 {
        var checksum: UInt32 = 0
        try SystemError.check(clinux_crc32c_file(file.number, offset, &checksum), "read", "descriptor \(file.number)")
        return checksum
    }

    /// Of bytes; `checksum` is carried on from the bytes before.
    public static func crc32c(_ bytes: [UInt8], after checksum: UInt32 = 0) -> UInt32 {
        clinux_crc32c(checksum, bytes, bytes.count)
    }
}
