import LinuxSystem
import SandboxModel

/// A directory in the making, marked as in use by a lock that dies with its holder.
///
/// The lock stands beside the directory and is shared: programs started to fill the directory hold it too. What is
/// left when all of them are gone is garbage, and the store collects it.
package final class StagingDirectory: Sendable {
    package let path: String
    package let lockPath: String
    private let lock: AdvisoryLock

    /// Makes an empty directory with a random name in `parent`.
    package init(in parent: String) throws(SystemError) {
        while true {
            let candidate = parent + "/" + RandomID.make(prefix: "b")
            // A collector that looks at this very moment may hold the new lock: then it gets the name, too.
            guard let lock = try AdvisoryLock.attempt(candidate + ".lock", exclusive: false) else { continue }
            path = candidate
            lockPath = candidate + ".lock"
            self.lock = lock
            break
        }
        try StoreFiles.makeDirectory(path)
    }

    /// Deletes what is left of the directory and gives up the lock's file.
    package func remove() {
        try? StoreFiles.remove(path)
        try? StoreFiles.remove(lockPath)
    }

    /// `remove` for large trees, away from the threads that serve async code; runs even in a cancelled task.
    func dispose() async {
        _ = try? await BlockingWork.run { self.remove() }
    }

    /// Deletes a staging directory nobody uses any more.
    ///
    /// - Returns: false while somebody holds its lock.
    package static func collect(lockPath: String) throws(SystemError) -> Bool {
        guard let lock = try AdvisoryLock.attempt(lockPath, exclusive: true) else { return false }
        try StoreFiles.remove(String(lock.path.dropLast(5)))
        try StoreFiles.remove(lock.path)
        return true
    }
}
