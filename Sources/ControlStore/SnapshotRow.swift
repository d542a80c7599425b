import GRDB
import SandboxModel

/// A row of `snapshot`.
struct SnapshotRow: Codable, FetchableRecord, PersistableRecord {
    static let databaseTableName = "snapshot"

    var id: String
    var keyID: String?
    var name: String?
    var kind: String
    var number: Int?
    var sandboxID: String
    var parent: String?
    var template: String
    var engine: String
    var accelerator: String
    var level: String
    var cpus: Int
    var memoryMiB: Int
    var diskMiB: Int
    var createdAt: Int64
    var capture: CaptureReport
    var metadata: [String: String]
    var isDeleting: Bool
    var network: NetworkPolicy?

    init(_ record: SnapshotRecord) {
        id = record.id.rawValue
        keyID = record.keyID
        name = record.name
        kind = record.kind.rawValue
        number = record.number
        sandboxID = record.sandbox.rawValue
        parent = record.parent?.rawValue
        template = record.template
        engine = record.isolation.engine
        accelerator = record.isolation.accelerator
        level = record.isolation.level.rawValue
        cpus = record.cpus
        memoryMiB = record.memoryMiB
        diskMiB = record.diskMiB
        createdAt = record.createdAt.milliseconds
        capture = record.capture
        metadata = record.metadata
        isDeleting = record.isDeleting
        network = record.network
    }

    func record() throws(MartletError) -> SnapshotRecord {
        guard let id = SnapshotID(rawValue: id), let kind = SnapshotKind(rawValue: kind),
            let sandbox = SandboxID(rawValue: sandboxID), let level = IsolationLevel(rawValue: level)
        else { throw MartletError(.internal, "read store: snapshot \(id): its row holds a value that is not known") }
        return SnapshotRecord(
            id: id, keyID: keyID, name: name, kind: kind, number: number, sandbox: sandbox,
            parent: parent.flatMap { SnapshotID(rawValue: $0) }, template: template,
            isolation: Isolation(engine: engine, accelerator: accelerator, level: level), cpus: cpus,
            memoryMiB: memoryMiB, diskMiB: diskMiB, createdAt: Timestamp(milliseconds: createdAt), capture: capture,
            metadata: metadata, isDeleting: isDeleting, network: network)
    }
}
