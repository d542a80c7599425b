import GRDB
import SandboxModel

extension SQLiteStore: IdempotencyStore {
    package func idempotency(keyID: String, key: String) async throws -> IdempotencyRecord? {
        try await perform {
            try await pool.read { db in
                try IdempotencyRow.fetchOne(db, key: ["keyID": keyID, "key": key])?.record
            }
        }
    }

    package func pruneIdempotency(before: Timestamp) async throws {
        try await perform {
            try await pool.write { db in
                try db.execute(sql: "DELETE FROM idempotency WHERE createdAt < ?", arguments: [before.milliseconds])
            }
        }
    }
}
