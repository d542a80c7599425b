import CLinux
import Glibc
import LinuxSystem
import SandboxModel

/// A directory on this machine that takes what comes out of a sandbox.
///
/// Names from a sandbox are a hostile program's. Each is one component, made and opened relative to the directory's
/// descriptor without following links: nothing can be put outside, whatever the sandbox says or has said.
struct HostDirectory: Sendable {
    let descriptor: Descriptor

    /// Opens a directory of the user's choice; links in its path are the user's own.
    static func open(_ path: String) throws(SystemError) -> HostDirectory {
        HostDirectory(descriptor: try Descriptor.openDirectory(path))
    }

    /// Opens a directory in this one, making it if it is not there.
    func directory(_ name: String, mode: UInt32) throws -> HostDirectory {
        try Self.check(name)
        // Until all is in it, the owner must be able to write to it.
        if mkdirat(descriptor.number, name, (mode | 0o700) & 0o777) != 0, errno != EEXIST {
            throw SystemError("mkdir", name, errno: errno)
        }
        let flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW
        let opened = try SystemError.check(clinux_openat(descriptor.number, name, flags, 0), "open", name)
        return HostDirectory(descriptor: Descriptor(owning: opened))
    }

    /// Sets this directory's own permission bits.
    func setMode(_ mode: UInt32) { fchmod(descriptor.number, mode & 0o777) }

    /// Makes a symbolic link, in place of one that is there.
    func link(_ name: String, to target: String) throws {
        try Self.check(name)
        guard !target.isEmpty, !target.utf8.contains(0) else { throw Self.refused(name) }
        if symlinkat(target, descriptor.number, name) == 0 { return }
        var facts = stat()
        guard errno == EEXIST, fstatat(descriptor.number, name, &facts, AT_SYMLINK_NOFOLLOW) == 0,
            facts.st_mode & S_IFMT == S_IFLNK, unlinkat(descriptor.number, name, 0) == 0,
            symlinkat(target, descriptor.number, name) == 0
        else { throw SystemError("symlink", name, errno: EEXIST) }
    }

    /// Begins a file; it shows under its name, whole, when it is finished.
    func file(_ name: String) throws -> PendingFile {
        try Self.check(name)
        let aside = ".\(RandomID.make(prefix: "m", length: 12)).part"
        let flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW
        let opened = try SystemError.check(clinux_openat(descriptor.number, aside, flags, 0o600), "create", name)
        return PendingFile(directory: self, name: name, aside: aside, file: Descriptor(owning: opened))
    }

    /// One component that is not `.` or `..`.
    static func check(_ name: String) throws(MartletError) {
        guard !name.isEmpty, name != ".", name != "..", name.utf8.count <= 255,
            !name.utf8.contains(where: { $0 == UInt8(ascii: "/") || $0 == 0 })
        else { throw refused(name) }
    }

    private static func refused(_ name: String) -> MartletError {
        MartletError(.invalidArgument, "cp: the sandbox gave a name that is none: '\(Printable.line(name))'")
    }
}

/// A file that is being written beside its place.
struct PendingFile: Sendable {
    let directory: HostDirectory
    let name: String
    let aside: String
    let file: Descriptor

    /// Puts the file in its place.
    func finish(mode: UInt32) throws(SystemError) {
        // Set-user-id and the like mean something else here than in the sandbox.
        guard fchmod(file.number, mode & 0o777) == 0,
            renameat(directory.descriptor.number, aside, directory.descriptor.number, name) == 0
        else {
            let failure = errno
            discard()
            throw SystemError("write", name, errno: failure)
        }
    }

    /// Removes what there is of it.
    func discard() { unlinkat(directory.descriptor.number, aside, 0) }
}
