import GRDB
import SandboxModel

/// A row of `idempotency`.
struct IdempotencyRow: FetchableRecord, PersistableRecord {
    static let databaseTableName = "idempotency"

    var record: IdempotencyRecord

    init(_ record: IdempotencyRecord) { self.record = record }

    init(row: Row) throws {
        guard let id = SandboxID(rawValue: row["sandboxID"]) else {
            throw MartletError(.internal, "read store: idempotency key: its sandbox id is none")
        }
        record = IdempotencyRecord(
            keyID: row["keyID"], key: row["key"], requestHash: Array(row["requestHash"] as DataBytes), sandboxID: id,
            createdAt: Timestamp(milliseconds: row["createdAt"]))
    }

    func encode(to container: inout PersistenceContainer) throws {
        container["keyID"] = record.keyID
        container["key"] = record.key
        container["requestHash"] = DataBytes(record.requestHash)
        container["sandboxID"] = record.sandboxID.rawValue
        container["createdAt"] = record.createdAt.milliseconds
    }
}
