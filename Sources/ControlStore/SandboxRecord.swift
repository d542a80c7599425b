import SandboxModel

/// What is kept of a sandbox across restarts. The environment is not: it often holds secrets, and the guest has it.
package struct SandboxRecord: Sendable, Equatable {
    package var id: SandboxID
    /// The key that made it; nil for the machine's own user on the unix socket.
    package var keyID: String?
    package var name: String?
    package var template: String
    package var state: SandboxState
    /// Why it is in a state nobody asked for.
    package var reason: String?
    package var isolation: Isolation
    package var cpus: Int
    package var memoryMiB: Int
    package var diskMiB: Int
    package var createdAt: Timestamp
    /// When a running sandbox is ended, and when a failed one's record is dropped.
    package var expiresAt: Timestamp
    package var timeoutSeconds: Int
    package var metadata: [String: String]
    package var parent: String?
    package var fromSnapshot: String?
    package var report: CreateReport
    package var onTimeout: TimeoutAction
    /// Whether a checkpoint is kept after every exec.
    package var isRecorded: Bool
    /// When it was paused, if it is.
    package var pausedAt: Timestamp?
    /// How its last pause went, if it is paused.
    package var capture: CaptureReport?
    /// The snapshot it last came from or last took.
    package var currentSnapshot: SnapshotID?
    /// The number of its next checkpoint.
    package var nextCheckpoint: Int
    /// What it may reach.
    package var network: NetworkPolicy
    /// Its secrets and its certificate authority, if it has any: encrypted.
    package var secrets: SealedSecrets?
    /// What clients of another API asked for, in that API's words; means nothing here.
    package var dialect: String?

    package init(
        id: SandboxID, keyID: String?, name: String?, template: String, state: SandboxState, reason: String? = nil,
        isolation: Isolation, cpus: Int, memoryMiB: Int, diskMiB: Int, createdAt: Timestamp, expiresAt: Timestamp,
        timeoutSeconds: Int, metadata: [String: String], parent: String? = nil, fromSnapshot: String? = nil,
        report: CreateReport, onTimeout: TimeoutAction = .kill, isRecorded: Bool = false, pausedAt: Timestamp? = nil,
        capture: CaptureReport? = nil, currentSnapshot: SnapshotID? = nil, nextCheckpoint: Int = 0,
        network: NetworkPolicy = .closed, secrets: SealedSecrets? = nil, dialect: String? = nil
    ) {
        self.id = id
        self.keyID = keyID
        self.name = name
        self.template = template
        self.state = state
        self.reason = reason
        self.isolation = isolation
        self.cpus = cpus
        self.memoryMiB = memoryMiB
        self.diskMiB = diskMiB
        self.createdAt = createdAt
        self.expiresAt = expiresAt
        self.timeoutSeconds = timeoutSeconds
        self.metadata = metadata
        self.parent = parent
        self.fromSnapshot = fromSnapshot
        self.report = report
        self.onTimeout = onTimeout
        self.isRecorded = isRecorded
        self.pausedAt = pausedAt
        self.capture = capture
        self.currentSnapshot = currentSnapshot
        self.nextCheckpoint = nextCheckpoint
        self.network = network
        self.secrets = secrets
        self.dialect = dialect
    }
}
