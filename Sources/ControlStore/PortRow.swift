import GRDB
import SandboxModel

/// A row of `publishedPort`. Not Codable: GRDB would keep an array of bytes as JSON.
struct PortRow: FetchableRecord, PersistableRecord {
    static let databaseTableName = "publishedPort"

    var record: PortRecord

    init(_ record: PortRecord) { self.record = record }

    init(row: Row) throws {
        guard let sandbox = SandboxID(rawValue: row["sandboxID"]), let port = UInt16(exactly: row["port"] as Int64),
            let visibility = PortVisibility(rawValue: row["visibility"])
        else { throw MartletError(.internal, "read store: a published port's row holds a value that is not known") }
        record = PortRecord(
            sandbox: sandbox, port: port, visibility: visibility, wake: row["wake"],
            tokenHash: (row["tokenHash"] as DataBytes?).map { Array($0) },
            createdAt: Timestamp(milliseconds: row["createdAt"]),
            expiresAt: (row["expiresAt"] as Int64?).map(Timestamp.init(milliseconds:)))
    }

    func encode(to container: inout PersistenceContainer) throws {
        container["sandboxID"] = record.sandbox.rawValue
        container["port"] = Int64(record.port)
        container["visibility"] = record.visibility.rawValue
        container["wake"] = record.wake
        container["tokenHash"] = record.tokenHash.map { DataBytes($0) }
        container["createdAt"] = record.createdAt.milliseconds
        container["expiresAt"] = record.expiresAt?.milliseconds
    }
}
