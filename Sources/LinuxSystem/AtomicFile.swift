import CLinux
import Glibc

/// Files that are either whole or not there: written aside, flushed, renamed.
public enum AtomicFile {
    /// Replaces `path` with `bytes`.
    ///
    /// - Parameter durable: flushes file and directory to the disk, so that the file survives a power cut and not
    ///   only the end of this process.
    public static func write(
        _ bytes: [UInt8], to path: String, mode: UInt32 = 0o600, durable: Bool = true
    ) throws(SystemError) {
        let aside = path + ".new"
        do {
            let file = try Descriptor.open(aside, O_WRONLY | O_CREAT | O_TRUNC, mode: mode)
            try file.writeAll(bytes)
            if durable { try file.synchronize() }
        } catch {
            unlink(aside)
            throw error
        }
        try SystemError.check(clinux_rename(aside, path), "rename", path)
        if durable { try synchronizeDirectory(of: path) }
    }

    /// Flushes the directory that holds `path`, so that a rename or creation in it is on the disk.
    public static func synchronizeDirectory(of path: String) throws(SystemError) {
        let slash = path.lastIndex(of: "/")
        let directory = slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        try Descriptor.open(directory, O_RDONLY | O_DIRECTORY).synchronize()
    }

    /// Reads a whole file.
    public static func read(_ path: String, limit: Int = 16 << 20) throws(SystemError) -> [UInt8] {
        do {
            return try Descriptor.open(path, O_RDONLY).readAll(limit: limit)
        } catch {
            throw SystemError("read", path, errno: error.errno)
        }
    }
}
