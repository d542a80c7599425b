import CLinux
import FoundationEssentials
import Glibc
import LinuxSystem
import SandboxModel

/// The root a Firecracker is shut in, before and after it: what it is given, and what it leaves.
///
/// The directory belongs to its user while it runs, so that it may put links anywhere in it: nothing in it is opened by
/// following one, and what it wrote is taken once it has ended.
struct JailRoot: Sendable {
    let path: String
    let user: UInt32

    /// Makes the directories, for the jailer to find.
    func make() throws {
        try FileManager.default.createDirectory(
            atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    }

    private static func check(_ name: String) throws(MartletError) {
        guard !name.isEmpty, name != ".", name != "..", !name.contains("/") else {
            throw MartletError(.internal, "firecracker: '\(name)' is no name of a file")
        }
    }

    /// Gives it a file to read: the same one where anybody may read it and nobody write, else a copy. Blocks the thread.
    func lend(_ source: String, as name: String) throws {
        try JailRoot.check(name)
        let target = "\(path)/\(name)"
        var info = stat()
        guard stat(source, &info) == 0 else { throw SystemError("stat", source, errno: errno) }
        if info.st_uid == 0, info.st_mode & 0o777 == 0o444, link(source, target) == 0 { return }
        _ = try lendCopy(source, as: name)
    }

    /// Gives it a copy of a file to read, which we may still write to. Blocks the thread.
    func lendCopy(_ source: String, as name: String) throws -> Descriptor {
        try JailRoot.check(name)
        let copy = try SparseFile.copy(source, to: "\(path)/\(name)")
        guard fchmod(copy.number, 0o444) == 0 else { throw SystemError("chmod", name, errno: errno) }
        return copy
    }

    /// Gives it a copy of a file to write to; without a source an empty file. Blocks the thread.
    ///
    /// - Parameter size: bytes the copy has at least; what the source does not have is a hole.
    func give(_ source: String?, as name: String, size: UInt64 = 0) throws {
        try JailRoot.check(name)
        let target = "\(path)/\(name)"
        let file =
            if let source {
                try SparseFile.copy(source, to: target)
            } else {
                try Descriptor.open(target, O_RDWR | O_CREAT | O_EXCL)
            }
        try JailRoot.extend(file, to: size, named: name)
        guard fchmod(file.number, 0o600) == 0, fchown(file.number, user, user) == 0 else {
            throw SystemError("give away", target, errno: errno)
        }
    }

    /// Makes a file no smaller than a size.
    static func extend(_ file: Descriptor, to size: UInt64, named name: String) throws(SystemError) {
        let current = lseek(file.number, 0, SEEK_END)
        guard current >= 0, UInt64(current) >= size || ftruncate(file.number, off_t(size)) == 0 else {
            throw SystemError("extend", name, errno: errno)
        }
    }

    /// Takes a file back that it does not use yet. Blocks the thread.
    func remove(_ name: String) throws {
        try JailRoot.check(name)
        guard unlink("\(path)/\(name)") == 0 || errno == ENOENT else {
            throw SystemError("remove", "\(path)/\(name)", errno: errno)
        }
    }

    /// Opens a plain file in it, which the process may have written, and may still change. Blocks the thread.
    func open(_ name: String, _ flags: Int32 = O_RDONLY) throws -> Descriptor {
        try JailRoot.check(name)
        let folder = try Descriptor.openDirectory(path)
        return Descriptor(
            owning: try SystemError.check(clinux_open_plain(folder.number, name, flags), "open", "\(path)/\(name)"))
    }

    /// Moves a file it wrote to where nobody writes to it any more. Only once the process has ended: until then it may
    /// have it open. Blocks the thread.
    ///
    /// - Throws: `failed_precondition` for what is no plain file of its own.
    func collect(_ name: String, to target: String) throws {
        let file = try open(name)
        var info = stat()
        guard fstat(file.number, &info) == 0, info.st_uid == user, info.st_nlink == 1 else {
            throw MartletError(.failedPrecondition, "firecracker: \(name): it is not what the process was to write")
        }
        guard fchown(file.number, 0, 0) == 0, fchmod(file.number, 0o444) == 0,
            rename("\(path)/\(name)", target) == 0
        else { throw SystemError("move", "\(path)/\(name)", errno: errno) }
    }

    /// The end of a text file in it, for people to read; empty where there is none.
    func tail(of name: String, bytes: Int = 600) -> String {
        guard let file = try? open(name) else { return "" }
        return JailRoot.tail(file, bytes: bytes)
    }

    static func tail(_ file: Descriptor, bytes: Int = 600) -> String {
        let size = max(0, lseek(file.number, 0, SEEK_END))
        let read = (try? file.read(upTo: bytes, at: UInt64(max(0, size - bytes)))) ?? []
        return String(decoding: read.filter { $0 == 10 || (32..<127).contains($0) }, as: UTF8.self)
    }
}
