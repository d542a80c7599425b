/// Tells when processes end, whoever started them.
public struct ExitWatcher: Sendable {
    /// The watcher of this program.
    public static let shared = ExitWatcher()

    private init() {}

    /// Returns when the process has ended; a child of ours is reaped. Cancelling the task does not end the wait.
    public func waitUntilEnded(_ handle: ProcessHandle) async {
        // By its pidfd. (To open the process again would not do: its leader may be a zombie while its other threads are
        // still ending.)
        await ReadinessWatcher.shared.waitUntilReadable(handle.pidfd)
        handle.reap()
    }

    /// Returns when the process has ended or the task is cancelled.
    public func waitUntilEndedOrCancelled(_ handle: ProcessHandle) async {
        await ReadinessWatcher.shared.waitUntilReadableOrCancelled(handle.pidfd)
        if handle.hasEnded { handle.reap() }
    }
}
