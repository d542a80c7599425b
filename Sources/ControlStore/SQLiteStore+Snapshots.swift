import GRDB
import SandboxModel

extension SQLiteStore: SnapshotStore {
    package func snapshots() async throws -> [SnapshotRecord] {
        let rows = try await perform { try await pool.read { db in try SnapshotRow.fetchAll(db) } }
        return try rows.map { try $0.record() }
    }

    package func insert(
        _ snapshot: SnapshotRecord, idempotency: IdempotencyRecord?,
        sandbox: @escaping @Sendable () -> SandboxRecord?
    ) async throws {
        let row = SnapshotRow(snapshot)
        let idempotencyRow = idempotency.map(IdempotencyRow.init)
        try await perform {
            try await pool.write { db in
                try row.insert(db)
                try idempotencyRow?.insert(db, onConflict: .replace)
                if let sandbox = sandbox() { try SandboxRow(sandbox).updateIfPresent(db) }
            }
        }
    }

    package func update(_ snapshot: SnapshotRecord) async throws {
        let row = SnapshotRow(snapshot)
        try await perform {
            do {
                try await pool.write { db in try row.update(db) }
            } catch RecordError.recordNotFound {
                throw MartletError(.notFound, "update store: snapshot \(snapshot.id): it is not on record")
            }
        }
    }

    package func remove(_ id: SnapshotID) async throws {
        try await perform {
            try await pool.write { db in
                guard let row = try SnapshotRow.fetchOne(db, key: id.rawValue) else { return }
                // What stood on it stands on what it stood on.
                for (table, column) in [("snapshot", "parent"), ("sandbox", "currentSnapshot")] {
                    try db.execute(
                        sql: "UPDATE \(table) SET \(column) = ? WHERE \(column) = ?",
                        arguments: [row.parent, id.rawValue])
                }
                try row.delete(db)
            }
        }
    }
}
