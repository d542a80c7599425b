import GRDB
import SandboxModel

extension SQLiteStore: KeyStore {
    package func keys() async throws -> [KeyRecord] {
        try await perform {
            try await pool.read { db in try KeyRow.fetchAll(db).map(\.record) }
        }
    }

    package func insert(_ key: KeyRecord) async throws {
        let row = KeyRow(key)
        try await perform { try await pool.write { db in try row.insert(db) } }
    }

    package func revokeKey(_ id: String, at time: Timestamp) async throws {
        try await perform {
            try await pool.write { db in
                try db.execute(
                    sql: "UPDATE apiKey SET revokedAt = ? WHERE id = ? AND revokedAt IS NULL",
                    arguments: [time.milliseconds, id])
            }
        }
    }
}
