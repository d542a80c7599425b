import SandboxModel

/// What is kept of a snapshot across restarts.
package struct SnapshotRecord: Sendable, Equatable {
    package var id: SnapshotID
    /// The key it belongs to; nil for the machine's own user on the unix socket.
    package var keyID: String?
    package var name: String?
    package var kind: SnapshotKind
    /// Of a checkpoint: its place among those of its sandbox.
    package var number: Int?
    /// The sandbox it was taken of; of an imported one, the sandbox on the other machine.
    package var sandbox: SandboxID
    /// The snapshot its sandbox last came from or last took before.
    package var parent: SnapshotID?
    package var template: String
    package var isolation: Isolation
    package var cpus: Int
    package var memoryMiB: Int
    package var diskMiB: Int
    package var createdAt: Timestamp
    package var capture: CaptureReport
    package var metadata: [String: String]
    /// Deleted, and kept until its last user is gone.
    package var isDeleting: Bool
    /// What its sandbox might reach; nil when that is not known, as of an imported one.
    package var network: NetworkPolicy?

    package init(
        id: SnapshotID, keyID: String?, name: String?, kind: SnapshotKind, number: Int?, sandbox: SandboxID,
        parent: SnapshotID?, template: String, isolation: Isolation, cpus: Int, memoryMiB: Int, diskMiB: Int,
        createdAt: Timestamp, capture: CaptureReport, metadata: [String: String], isDeleting: Bool = false,
        network: NetworkPolicy? = nil
    ) {
        self.id = id
        self.keyID = keyID
        self.name = name
        self.kind = kind
        self.number = number
        self.sandbox = sandbox
        self.parent = parent
        self.template = template
        self.isolation = isolation
        self.cpus = cpus
        self.memoryMiB = memoryMiB
        self.diskMiB = diskMiB
        self.createdAt = createdAt
        self.capture = capture
        self.metadata = metadata
        self.isDeleting = isDeleting
        self.network = network
    }

    /// What it takes on the host's disk.
    package var storedBytes: UInt64 { capture.memoryBytes &+ capture.diskBytes }
}
