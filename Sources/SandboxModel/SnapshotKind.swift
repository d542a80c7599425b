/// How a snapshot came to be.
public enum SnapshotKind: String, Sendable, Codable, CaseIterable {
    /// Taken on request.
    case snapshot
    /// Taken by itself after a command of a recording sandbox; it goes with its sandbox.
    case checkpoint
    /// Read from an export.
    case imported
}
