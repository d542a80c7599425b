import CLinux
import Glibc

/// What tells that a file is still the one that was looked at before.
package struct FileStamp: Sendable, Hashable {
    package let inode: UInt64
    package let size: Int64
    package let modifiedNanoseconds: Int64
    package let isDirectory: Bool
    /// What the file takes on the disk; less than `size` when it is sparse.
    package let allocatedBytes: Int64

    /// Looks at a path without following a symbolic link; nil if there is nothing.
    package init?(path: String) {
        var info = stat()
        guard lstat(path, &info) == 0 else { return nil }
        inode = UInt64(info.st_ino)
        size = Int64(info.st_size)
        modifiedNanoseconds = Int64(info.st_mtim.tv_sec) * 1_000_000_000 + Int64(info.st_mtim.tv_nsec)
        isDirectory = info.st_mode & S_IFMT == S_IFDIR
        allocatedBytes = Int64(info.st_blocks) * 512
    }
}
