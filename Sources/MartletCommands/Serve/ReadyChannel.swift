import LinuxSystem
import SandboxModel

/// The daemon's end of what its parent handed down: a pipe to say that it is ready, and the lock on starting it.
final class ReadyChannel: Sendable {
    private let pipe = Descriptor(owning: DaemonLauncher.readyDescriptor)
    private let lock = FileLock(inherited: DaemonLauncher.lockDescriptor)

    /// Tells the parent that requests are taken, and lets others look for the daemon.
    func ready() { finish(DaemonLauncher.readyWord) }

    /// Tells the parent why there will be no daemon.
    func fail(_ error: any Error) { finish((error as? MartletError)?.message ?? "\(error)") }

    private func finish(_ word: String) {
        // A parent that was interrupted does not read any more.
        try? pipe.writeAll(Array((Printable.line(word) + "\n").utf8))
        pipe.close()
        lock.release()
    }
}
