import GRDB
import SandboxModel

/// A row of `apiKey`. Not Codable: GRDB would keep an array of bytes as JSON.
struct KeyRow: FetchableRecord, PersistableRecord {
    static let databaseTableName = "apiKey"

    var record: KeyRecord

    init(_ record: KeyRecord) { self.record = record }

    init(row: Row) throws {
        record = KeyRecord(
            id: row["id"], hash: Array(row["hash"] as DataBytes), label: row["label"], isAdmin: row["isAdmin"],
            createdAt: Timestamp(milliseconds: row["createdAt"]), maxSandboxes: row["maxSandboxes"],
            revokedAt: (row["revokedAt"] as Int64?).map(Timestamp.init(milliseconds:)))
    }

    func encode(to container: inout PersistenceContainer) throws {
        container["id"] = record.id
        container["hash"] = DataBytes(record.hash)
        container["label"] = record.label
        container["isAdmin"] = record.isAdmin
        container["createdAt"] = record.createdAt.milliseconds
        container["maxSandboxes"] = record.maxSandboxes
        container["revokedAt"] = record.revokedAt?.milliseconds
    }
}
