import SandboxModel

/// The control plane's settings.
package struct ControlPlaneConfiguration: Sendable {
    /// Martlet's own version, told by `GET /v1/host`.
    package var version: String
    /// Sandboxes a key may have at once, unless the key says otherwise. The unix socket has only the host's limit.
    package var maxSandboxesPerKey = 100
    package var defaultTimeoutSeconds = 300
    package var maxTimeoutSeconds = 7 * 24 * 3600
    /// How long a sandbox whose machine died on its own stays on record as `failed`.
    package var failedRetentionSeconds = 3600
    /// How many failed sandboxes stay on record at most.
    package var maxFailedRecords = 1000
    /// Snapshots a key may have at once; checkpoints do not count. The unix socket has no limit.
    package var maxSnapshotsPerKey = 200
    /// Builds of templates a key may have; those nobody can ask for any more do not count.
    package var maxTemplatesPerKey = 100
    /// Where archives for template builds are kept; nil takes none.
    package var buildFilesDirectory: String?
    /// Checkpoints a recording sandbox keeps; the oldest go first.
    package var maxCheckpoints = 32
    /// What the checkpoints of one sandbox may take on disk together.
    package var maxCheckpointBytes: UInt64 = 1 << 30
    /// When a sandbox that could not be paused at its time-out is tried again.
    package var pauseRetrySeconds = 60
    /// Ports a sandbox may have published at once.
    package var maxPortsPerSandbox = 64
    /// How long the token of a private port is good, unless told otherwise.
    package var defaultPortSeconds = 3600
    package var maxPortSeconds = 30 * 24 * 3600
    package var maxEventsPerSandbox = 1000
    package var maxEvents = 100_000
    /// Refused connections and look-ups among them: a guest brings them about as it likes.
    package var maxDenialsPerSandbox = 300
    package var maxDenials = 30_000
    /// What a sandbox may reach that is made without a policy.
    package var defaultNetwork = NetworkPolicy.closed
    /// The variables of the daemon's environment that secrets may be read from, all named `MARTLET_SECRET_…`.
    package var secretVariables: [String: String] = [:]

    package init(version: String) { self.version = version }
}
