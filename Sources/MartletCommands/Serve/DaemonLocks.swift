import Glibc
import LinuxSystem
import MartletClient
import SandboxModel

/// The locks by which there is one daemon for a data directory, and one start at a time.
final class DaemonLocks: Sendable {
    private let life: FileLock
    private let start: FileLock?

    private init(life: FileLock, start: FileLock?) {
        self.life = life
        self.start = start
    }

    /// Takes them; blocks the thread while somebody else is starting a daemon.
    ///
    /// - Parameter isStartLockInherited: our parent has the lock on starting already and handed it down.
    /// - Throws: `conflict` when a daemon has the directory.
    static func take(_ data: DataDirectory, isStartLockInherited: Bool) throws -> DaemonLocks {
        try DaemonLauncher.makeDirectory(data)
        let start = isStartLockInherited ? nil : try FileLock.wait(data.startLock)
        return DaemonLocks(life: try takeLife(data), start: start)
    }

    private static func takeLife(_ data: DataDirectory) throws -> FileLock {
        var tries = 0
        while true {
            if let lock = try FileLock.attempt(data.daemonLock) { return lock }
            let daemon = DaemonFile.read(data)
            // A program that a daemon was about to start when it was killed shares its lock until it is started.
            tries += 1
            guard let daemon, kill(daemon.pid, 0) != 0, errno == ESRCH, tries < 60 else {
                let who = daemon.map { " (pid \($0.pid), \($0.url))" } ?? ""
                throw MartletError(
                    .conflict, "data directory: \(data.path): another martlet daemon\(who) is using it")
            }
            usleep(50_000)
        }
    }

    /// Lets others look for the daemon, which is there now.
    func started() { start?.release() }

    /// Lets another daemon have the directory.
    func release() {
        start?.release()
        life.release()
    }
}
