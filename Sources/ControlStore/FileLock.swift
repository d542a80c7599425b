import Glibc
import SandboxModel

/// Holds a lock file as long as it lives; the kernel lets go of it when the process ends, however it ends.
final class FileLock: Sendable {
    private let descriptor: Int32

    init(path: String, directory: String) throws(MartletError) {
        let descriptor = Glibc.open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            throw MartletError(.unavailable, "open store: \(path): \(String(cString: strerror(errno)))")
        }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            Glibc.close(descriptor)
            throw MartletError(
                .conflict, "open store: \(directory): another martlet daemon uses this data directory",
                details: ["path": directory])
        }
        self.descriptor = descriptor
    }

    deinit {
        // Unlocked first: a child on its way to exec may share the descriptor a moment longer than we do.
        flock(descriptor, LOCK_UN)
        Glibc.close(descriptor)
    }
}
