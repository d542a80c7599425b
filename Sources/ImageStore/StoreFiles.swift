import CLinux
import Glibc
import LinuxSystem

/// The few file operations the store is made of; all block the calling thread.
package enum StoreFiles {
    /// Makes a directory and its parents; one that exists is fine.
    package static func makeDirectory(_ path: String, mode: mode_t = 0o700) throws(SystemError) {
        if mkdir(path, mode) == 0 { return }
        let failure = errno
        if failure == EEXIST, isDirectory(path) { return }
        guard failure == ENOENT, let slash = path.lastIndex(of: "/"), slash != path.startIndex else {
            throw SystemError("mkdir", path, errno: failure)
        }
        try makeDirectory(String(path[..<slash]), mode: mode)
        guard mkdir(path, mode) == 0 || errno == EEXIST else { throw SystemError("mkdir", path, errno: errno) }
    }

    /// Whether there is anything at a path, a dangling link included.
    package static func exists(_ path: String) -> Bool { FileStamp(path: path) != nil }

    package static func isDirectory(_ path: String) -> Bool {
        var info = stat()
        return stat(path, &info) == 0 && info.st_mode & S_IFMT == S_IFDIR
    }

    /// Names in a directory, sorted, without `.` and `..`; empty when it cannot be read.
    package static func list(_ path: String) -> [String] {
        guard let stream = opendir(path) else { return [] }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            // SAFETY: d_name is a NUL-terminated array inside the entry, which is valid until the next readdir.
            let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    /// Removes a file or a whole directory; follows no symbolic link, and something that is not there is fine.
    package static func remove(_ path: String) throws(SystemError) {
        guard let stamp = FileStamp(path: path) else { return }
        if stamp.isDirectory {
            for name in list(path) { try remove(path + "/" + name) }
        }
        let result = stamp.isDirectory ? rmdir(path) : unlink(path)
        guard result == 0 || errno == ENOENT else { throw SystemError("remove", path, errno: errno) }
    }

    package static func setMode(_ path: String, _ mode: mode_t) throws(SystemError) {
        guard chmod(path, mode) == 0 else { throw SystemError("chmod", path, errno: errno) }
    }

    /// Flushes a file or directory to the disk.
    package static func synchronize(_ path: String) throws(SystemError) {
        try Descriptor.open(path, O_RDONLY).synchronize()
    }

    /// Gives back the space of whole pages of zeros; what is read stays the same. A file system that cannot is no error.
    package static func digHoles(_ path: String) throws(SystemError) {
        let result = clinux_dig_holes(try Descriptor.open(path, O_RDWR).number)
        guard result != Int64(-EOPNOTSUPP) else { return }
        try SystemError.check(result, "punch holes", path)
    }

    /// Makes a file that is never written appear elsewhere.
    package static func linkOrCopy(_ source: String, _ target: String) throws {
        if link(source, target) == 0 { return }
        guard errno == EXDEV || errno == EPERM || errno == EMLINK else {
            throw SystemError("link", target, errno: errno)
        }
        try copySparse(source, target)
    }

    /// Copies a file with its holes.
    package static func copySparse(_ source: String, _ target: String, flushes: Bool = true) throws(SystemError) {
        let to = try SparseFile.copy(source, to: target)
        if flushes { try to.synchronize() }
        try setMode(target, 0o444)
    }

    /// Renames; the target must not exist (or be an empty directory).
    package static func rename(_ from: String, _ to: String) throws(SystemError) {
        try SystemError.check(clinux_rename(from, to), "rename", "\(from) to \(to)")
    }

    /// Sets the time of the last change to now: how the store remembers that a part was used.
    static func touch(_ path: String) {
        _ = utimensat(AT_FDCWD, path, nil, 0)
    }

    /// Bytes the files under a path take on the disk.
    package static func allocatedBytes(_ path: String) -> Int64 {
        guard let stamp = FileStamp(path: path) else { return 0 }
        guard stamp.isDirectory else { return stamp.allocatedBytes }
        return list(path).reduce(0) { $0 + allocatedBytes(path + "/" + $1) }
    }
}
