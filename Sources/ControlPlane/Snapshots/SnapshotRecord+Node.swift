import ControlStore
import MartletAPI
import Node
import SandboxModel

extension SnapshotRecord {
    /// What a node tells of a snapshot, and what it is kept as.
    init(
        _ snapshot: NodeSnapshot, keyID: String?, name: String?, kind: SnapshotKind, number: Int? = nil,
        parent: SnapshotID? = nil, metadata: [String: String] = [:]
    ) {
        self.init(
            id: snapshot.id, keyID: keyID, name: name, kind: kind, number: number, sandbox: snapshot.sandbox,
            parent: parent, template: snapshot.template, isolation: snapshot.isolation, cpus: snapshot.shape.cpus,
            memoryMiB: snapshot.shape.memoryMiB, diskMiB: snapshot.diskMiB, createdAt: .now,
            capture: snapshot.report, metadata: metadata)
    }
}

extension SnapshotResource {
    /// The record as clients see it.
    init(_ record: SnapshotRecord, inUseBy users: [SandboxID]) {
        self.init(
            id: record.id.rawValue, name: record.name, kind: record.kind, number: record.number,
            sandbox: record.sandbox.rawValue, parent: record.parent?.rawValue, template: record.template,
            isolation: record.isolation, cpus: record.cpus, memoryMiB: record.memoryMiB, diskMiB: record.diskMiB,
            capturedAt: record.capture.capturedAt, pauseMilliseconds: record.capture.pauseMilliseconds,
            memoryBytes: record.capture.memoryBytes, diskBytes: record.capture.diskBytes, metadata: record.metadata,
            state: record.isDeleting ? .deleting : .ready, inUseBy: users.map(\.rawValue).sorted(),
            network: record.network)
    }
}
