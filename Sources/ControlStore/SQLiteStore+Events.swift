import GRDB
import SandboxModel

extension SQLiteStore: EventStore {
    package func append(_ events: [EventRecord]) async throws -> [EventRecord] {
        try await perform {
            try await pool.write { db in
                try events.map { event in
                    var row = EventRow(event)
                    try row.insert(db)
                    return try row.record()
                }
            }
        }
    }

    package func events(of id: SandboxID, after sequence: Int64, limit: Int) async throws -> [EventRecord] {
        let rows = try await perform {
            try await pool.read { db in
                try EventRow.fetchAll(
                    db, sql: "SELECT * FROM event WHERE sandboxID = ? AND sequence > ? ORDER BY sequence LIMIT ?",
                    arguments: [id.rawValue, sequence, limit])
            }
        }
        return try rows.map { try $0.record() }
    }

    package func pruneEvents(perSandbox: Int, total: Int) async throws {
        try await perform {
            try await pool.write { db in
                try db.execute(
                    sql: """
                        DELETE FROM event WHERE sequence <= COALESCE(
                            (SELECT sequence FROM event ORDER BY sequence DESC LIMIT 1 OFFSET ?), 0)
                        """, arguments: [total])
                let crowded = try String.fetchAll(
                    db, sql: "SELECT sandboxID FROM event GROUP BY sandboxID HAVING COUNT(*) > ?",
                    arguments: [perSandbox])
                for id in crowded {
                    try db.execute(
                        sql: """
                            DELETE FROM event WHERE sandboxID = ?1 AND sequence <= (SELECT sequence FROM event
                            WHERE sandboxID = ?1 ORDER BY sequence DESC LIMIT 1 OFFSET ?2)
                            """, arguments: [id, perSandbox])
                }
            }
        }
    }

    package func pruneEvents(kind: String, perSandbox: Int, total: Int) async throws {
        try await perform {
            try await pool.write { db in
                try db.execute(
                    sql: """
                        DELETE FROM event WHERE kind = ?1 AND sequence <= COALESCE((SELECT sequence FROM event
                        WHERE kind = ?1 ORDER BY sequence DESC LIMIT 1 OFFSET ?2), 0)
                        """, arguments: [kind, total])
                let crowded = try String.fetchAll(
                    db, sql: "SELECT sandboxID FROM event WHERE kind = ? GROUP BY sandboxID HAVING COUNT(*) > ?",
                    arguments: [kind, perSandbox])
                for id in crowded {
                    try db.execute(
                        sql: """
                            DELETE FROM event WHERE sandboxID = ?1 AND kind = ?2 AND sequence <= (SELECT sequence
                            FROM event WHERE sandboxID = ?1 AND kind = ?2 ORDER BY sequence DESC LIMIT 1 OFFSET ?3)
                            """, arguments: [id, kind, perSandbox])
                }
            }
        }
    }
}
