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

    package init(
        id: SandboxID, keyID: String?, name: String?, template: String, state: SandboxState, reason: String? = nil,
        isolation: Isolation, cpus: Int, memoryMiB: Int, diskMiB: Int, createdAt: Timestamp, expiresAt: Timestamp,
        timeoutSeconds: Int, metadata: [String: String], parent: String? = nil, fromSnapshot: String? = nil,
        report: CreateReport
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
    }
}
