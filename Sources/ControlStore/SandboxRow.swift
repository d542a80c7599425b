import GRDB
import SandboxModel

/// A row of `sandbox`.
struct SandboxRow: Codable, FetchableRecord, PersistableRecord {
    static let databaseTableName = "sandbox"

    var id: String
    var keyID: String?
    var name: String?
    var template: String
    var state: String
    var reason: String?
    var engine: String
    var accelerator: String
    var level: String
    var cpus: Int
    var memoryMiB: Int
    var diskMiB: Int
    var createdAt: Int64
    var expiresAt: Int64
    var timeoutSeconds: Int
    var metadata: [String: String]
    var parent: String?
    var fromSnapshot: String?
    var createReport: CreateReport
    var onTimeout: String
    var isRecorded: Bool
    var pausedAt: Int64?
    var capture: CaptureReport?
    var currentSnapshot: String?
    var nextCheckpoint: Int
    var network: NetworkPolicy?
    var secrets: DataBytes?
    var secretFacts: [SecretFacts]?
    var dialect: String?

    init(_ record: SandboxRecord) {
        id = record.id.rawValue
        keyID = record.keyID
        name = record.name
        template = record.template
        state = record.state.rawValue
        reason = record.reason
        engine = record.isolation.engine
        accelerator = record.isolation.accelerator
        level = record.isolation.level.rawValue
        cpus = record.cpus
        memoryMiB = record.memoryMiB
        diskMiB = record.diskMiB
        createdAt = record.createdAt.milliseconds
        expiresAt = record.expiresAt.milliseconds
        timeoutSeconds = record.timeoutSeconds
        metadata = record.metadata
        parent = record.parent
        fromSnapshot = record.fromSnapshot
        createReport = record.report
        onTimeout = record.onTimeout.rawValue
        isRecorded = record.isRecorded
        pausedAt = record.pausedAt?.milliseconds
        capture = record.capture
        currentSnapshot = record.currentSnapshot?.rawValue
        nextCheckpoint = record.nextCheckpoint
        network = record.network
        secrets = record.secrets.map { DataBytes($0.bytes) }
        secretFacts = record.secrets?.facts
        dialect = record.dialect
    }

    /// Replaces the row; one that is not there (any more) is left alone.
    func updateIfPresent(_ db: Database) throws {
        do {
            try update(db)
        } catch RecordError.recordNotFound {}
    }

    func record() throws(MartletError) -> SandboxRecord {
        guard let id = SandboxID(rawValue: id), let state = SandboxState(rawValue: state),
            let level = IsolationLevel(rawValue: level), let onTimeout = TimeoutAction(rawValue: onTimeout)
        else { throw MartletError(.internal, "read store: sandbox \(id): its row holds a value that is not known") }
        return SandboxRecord(
            id: id, keyID: keyID, name: name, template: template, state: state, reason: reason,
            isolation: Isolation(engine: engine, accelerator: accelerator, level: level), cpus: cpus,
            memoryMiB: memoryMiB, diskMiB: diskMiB, createdAt: Timestamp(milliseconds: createdAt),
            expiresAt: Timestamp(milliseconds: expiresAt), timeoutSeconds: timeoutSeconds, metadata: metadata,
            parent: parent, fromSnapshot: fromSnapshot, report: createReport,
            onTimeout: onTimeout, isRecorded: isRecorded, pausedAt: pausedAt.map(Timestamp.init(milliseconds:)),
            capture: capture, currentSnapshot: currentSnapshot.flatMap { SnapshotID(rawValue: $0) },
            nextCheckpoint: nextCheckpoint, network: network ?? .closed,
            secrets: secrets.map { SealedSecrets(bytes: Array($0), facts: secretFacts ?? []) }, dialect: dialect)
    }
}
