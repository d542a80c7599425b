import Glibc
import SandboxModel

/// A name for a unix socket that is short enough for the kernel, whatever the length of its real path.
///
/// A path that does not fit is reached through an open descriptor of its directory, held as long as this object lives.
final class SocketPath: Sendable {
    /// What to connect to.
    let path: String
    private let directory: Int32

    init(_ path: String) {
        // 108 bytes with the terminating zero.
        guard path.utf8.count > 107, let slash = path.lastIndex(of: "/") else {
            self.path = path
            directory = -1
            return
        }
        directory = open(String(path[..<slash]), O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        self.path = directory < 0 ? path : "/proc/self/fd/\(directory)\(path[slash...])"
    }

    deinit {
        if directory >= 0 { close(directory) }
    }
}
