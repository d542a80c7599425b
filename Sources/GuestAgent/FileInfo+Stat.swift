import Glibc
import GuestProtocol

extension FileInfo {
    init(path: String, _ info: stat, target: String = "") {
        let kind: FileKind =
            switch info.st_mode & S_IFMT {
            case S_IFREG: .file
            case S_IFDIR: .directory
            case S_IFLNK: .symbolicLink
            default: .other
            }
        self.init(
            path: path, kind: kind, size: UInt64(max(0, info.st_size)), mode: info.st_mode & 0o7777, uid: info.st_uid,
            gid: info.st_gid,
            modifiedMilliseconds: Int64(info.st_mtim.tv_sec) * 1000 + Int64(info.st_mtim.tv_nsec) / 1_000_000,
            target: target)
    }

    /// The facts of what is at `path` itself, a link not followed.
    static func read(_ path: String) throws(GuestFailure) -> FileInfo {
        var info = stat()
        guard lstat(path, &info) == 0 else { throw GuestFailure(path: path, errno: errno) }
        return FileInfo(path: path, info, target: target(AT_FDCWD, path, info))
    }

    /// The same, with what is kept with it.
    static func readWithLabels(_ path: String) throws(GuestFailure) -> FileInfo {
        var info = try read(path)
        info.labels = FileLabelStore.labels(in: AT_FDCWD, path, info.kind)
        return info
    }

    /// The facts of an entry of an open directory, or nil if it is gone; `path` is what it is called in the answer.
    static func read(in directory: Int32, _ name: UnsafePointer<CChar>, path: String) -> FileInfo? {
        var info = stat()
        guard fstatat(directory, name, &info, AT_SYMLINK_NOFOLLOW) == 0 else { return nil }
        return FileInfo(path: path, info, target: target(directory, name, info))
    }

    private static func target(_ directory: Int32, _ name: UnsafePointer<CChar>, _ info: stat) -> String {
        guard info.st_mode & S_IFMT == S_IFLNK else { return "" }
        var text = [CChar](repeating: 0, count: Int(PATH_MAX))
        let count = readlinkat(directory, name, &text, text.count)
        guard count > 0 else { return "" }
        return String(decoding: text[0..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
