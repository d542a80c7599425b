import Glibc
import LinuxSystem
import SandboxModel

/// A path for a unix socket, whatever its length: the kernel takes up to 107 bytes, so a longer one is reached through
/// its directory's entry in /proc, which is short. Valid as long as this object lives.
final class SocketPath: Sendable {
    private static let maxBytes = 107

    /// The path to bind or connect to.
    let usable: String
    private let directory: Descriptor?

    init(_ path: String) throws {
        guard path.utf8.count > SocketPath.maxBytes else {
            usable = path
            directory = nil
            return
        }
        guard let slash = path.lastIndex(of: "/") else {
            throw MartletError(.invalidArgument, "socket: \(path): a name this long needs a directory before it")
        }
        let directory = try Descriptor.open(String(path[..<slash]), O_RDONLY | O_DIRECTORY)
        let usable = "/proc/self/fd/\(directory.number)\(path[slash...])"
        guard usable.utf8.count <= SocketPath.maxBytes else {
            throw MartletError(.invalidArgument, "socket: \(path): its last component is too long")
        }
        self.directory = directory
        self.usable = usable
    }
}
