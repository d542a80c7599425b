import GRDB
import SandboxModel

/// A row of `idempotency`; its column `sandboxID` holds the id of whatever was made.
struct IdempotencyRow: FetchableRecord, PersistableRecord {
    static let databaseTableName = "idempotency"

    var record: IdempotencyRecord

    init(_ record: IdempotencyRecord) { self.record = record }

    init(row: Row) throws {
        record = IdempotencyRecord(
            keyID: row["keyID"], key: row["key"], requestHash: Array(row["requestHash"] as DataBytes),
            made: row["sandboxID"],
            createdAt: Timestamp(milliseconds: row["createdAt"]))
    }

    func encode(to container: inout PersistenceContainer) throws {
        container["keyID"] = record.keyID
        container["key"] = record.key
        container["requestHash"] = DataBytes(record.requestHash)
        container["sandboxID"] = record.made
        container["createdAt"] = record.createdAt.milliseconds
    }
}
