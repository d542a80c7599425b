import GRDB
import SandboxModel

extension SQLiteStore: PortStore {
    package func ports() async throws -> [PortRecord] {
        try await perform { try await pool.read { db in try PortRow.fetchAll(db).map(\.record) } }
    }

    package func put(_ port: PortRecord) async throws {
        let row = PortRow(port)
        try await perform {
            try await pool.write { db in
                guard try SandboxRow.exists(db, key: port.sandbox.rawValue) else {
                    throw MartletError(.notFound, "write store: sandbox \(port.sandbox): it is not on record")
                }
                try row.insert(db, onConflict: .replace)
            }
        }
    }

    package func removePort(_ port: UInt16, of sandbox: SandboxID) async throws {
        try await perform {
            try await pool.write { db in
                try db.execute(
                    sql: "DELETE FROM publishedPort WHERE sandboxID = ? AND port = ?",
                    arguments: [sandbox.rawValue, Int64(port)])
            }
        }
    }
}
