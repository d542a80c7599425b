import CLinux
import Glibc
import GuestProtocol
import LinuxSystem

/// File operations that are over at once; those that stream have a class of their own.
struct FileService {
    let users: Users

    func facts(_ request: FileReference) throws(GuestFailure) -> FileInfo {
        try FileInfo.readWithLabels(FilePath.check(request.path))
    }

    func makeDirectory(_ request: MakeDirectory) throws(GuestFailure) -> FileInfo {
        let path = FilePath.trimmed(try FilePath.check(request.path))
        let owner = request.owner.isEmpty ? nil : try users.owner(request.owner)
        if request.parents { try FileService.makeParents(of: path, owner: owner) }
        if mkdir(path, request.mode & 0o7777) == 0 {
            // Again, since the umask took bits off.
            if chmod(path, request.mode & 0o7777) != 0 { throw GuestFailure(path: path, errno: errno) }
            if let owner, chown(path, owner.uid, owner.gid) != 0 { throw GuestFailure(path: path, errno: errno) }
        } else {
            let code = errno
            guard code == EEXIST, request.parents, FileService.isDirectory(path) else {
                throw GuestFailure(path: path, errno: code)
            }
        }
        return try FileInfo.read(path)
    }

    func move(_ request: MoveFile) throws(GuestFailure) -> FileInfo {
        let source = try FilePath.check(request.source)
        let destination = try FilePath.check(request.destination)
        let result = clinux_rename(source, destination)
        if result < 0 {
            // The kernel does not say which of the two it could not find.
            let culprit = result == -ENOENT && FileService.exists(source) ? destination : source
            throw GuestFailure(path: culprit, errno: -result)
        }
        return try FileInfo.read(FilePath.trimmed(destination))
    }

    /// Removes one file, link or empty directory.
    func remove(_ path: String) throws(GuestFailure) {
        let path = FilePath.trimmed(try FilePath.check(path))
        if unlinkat(AT_FDCWD, path, 0) == 0 { return }
        let code = errno
        guard code == EISDIR || code == EPERM else { throw GuestFailure(path: path, errno: code) }
        if rmdir(path) != 0 { throw GuestFailure(path: path, errno: errno == EEXIST ? ENOTEMPTY : errno) }
    }

    static func exists(_ path: String) -> Bool {
        var info = stat()
        return lstat(path, &info) == 0
    }

    static func isDirectory(_ path: String) -> Bool {
        var info = stat()
        return stat(path, &info) == 0 && info.st_mode & S_IFMT == S_IFDIR
    }

    /// Makes the directories above `path` that are missing, owned by `owner`.
    static func makeParents(of path: String, owner: (uid: UInt32, gid: UInt32)?) throws(GuestFailure) {
        let parent = FilePath.parent(of: path)
        if isDirectory(parent) { return }
        var made = ""
        for component in parent.split(separator: "/") {
            made += "/" + component
            if mkdir(made, 0o755) == 0 {
                if let owner, chown(made, owner.uid, owner.gid) != 0 { throw GuestFailure(path: made, errno: errno) }
                continue
            }
            let code = errno
            guard isDirectory(made) else { throw GuestFailure(path: made, errno: code == EEXIST ? ENOTDIR : code) }
        }
    }
}
