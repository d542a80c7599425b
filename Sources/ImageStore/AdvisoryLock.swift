import CLinux
import Glibc
import LinuxSystem

/// A lock on a file that the kernel drops when its holder dies, whatever way it dies.
final class AdvisoryLock: Sendable {
    let path: String
    private let descriptor: Descriptor

    private init(path: String, descriptor: Descriptor) {
        self.path = path
        self.descriptor = descriptor
    }

    /// Takes the lock if nobody is in the way; nil otherwise.
    ///
    /// - Parameter exclusive: false shares the lock with other sharers; programs we start share the lock of the
    ///   directory they write in, so that it counts as in use even when this process has died before them.
    static func attempt(_ path: String, exclusive: Bool) throws(SystemError) -> AdvisoryLock? {
        while true {
            let descriptor = try Descriptor.open(path, O_RDWR | O_CREAT)
            let result = clinux_flock(descriptor.number, exclusive ? 1 : 0, 0)
            if result == -EWOULDBLOCK { return nil }
            try SystemError.check(result, "flock", path)
            // The file may have been deleted between opening and locking; a lock on a deleted file excludes nobody.
            var opened = stat()
            if fstat(descriptor.number, &opened) == 0, FileStamp(path: path)?.inode == UInt64(opened.st_ino) {
                return AdvisoryLock(path: path, descriptor: descriptor)
            }
        }
    }

    /// Takes the exclusive lock, however long that takes.
    ///
    /// - Parameter waiting: called once if somebody else holds it now.
    static func acquire(_ path: String, waiting: @Sendable () -> Void) async throws -> AdvisoryLock {
        var told = false
        while true {
            if let lock = try attempt(path, exclusive: true) { return lock }
            if !told { waiting() }
            told = true
            // The kernel has no event for a lock that became free, and a blocking flock cannot be cancelled.
            try await Task.sleep(for: .milliseconds(200))
        }
    }
}
