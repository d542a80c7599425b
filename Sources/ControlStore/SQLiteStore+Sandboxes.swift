import GRDB
import SandboxModel

extension SQLiteStore: SandboxStore {
    package func sandboxes() async throws -> [SandboxRecord] {
        let rows = try await perform { try await pool.read { db in try SandboxRow.fetchAll(db) } }
        return try rows.map { try $0.record() }
    }

    package func insert(
        _ sandbox: SandboxRecord, event: EventRecord, idempotency: IdempotencyRecord?
    ) async throws -> EventRecord {
        let row = SandboxRow(sandbox)
        let idempotencyRow = idempotency.map(IdempotencyRow.init)
        return try await perform {
            try await pool.write { db in
                try row.insert(db)
                try idempotencyRow?.insert(db, onConflict: .replace)
                var eventRow = EventRow(event)
                try eventRow.insert(db)
                return try eventRow.record()
            }
        }
    }

    package func insert(_ sandboxes: [(sandbox: SandboxRecord, event: EventRecord)]) async throws -> [EventRecord] {
        let rows = sandboxes.map { (SandboxRow($0.sandbox), EventRow($0.event)) }
        return try await perform {
            try await pool.write { db in
                try rows.map { row, event in
                    try row.insert(db)
                    var event = event
                    try event.insert(db)
                    return try event.record()
                }
            }
        }
    }

    package func updateLatest(_ sandbox: @escaping @Sendable () -> SandboxRecord?) async throws {
        try await perform {
            try await pool.write { db in
                if let sandbox = sandbox() { try SandboxRow(sandbox).updateIfPresent(db) }
            }
        }
    }

    package func update(_ sandbox: SandboxRecord) async throws {
        let row = SandboxRow(sandbox)
        try await perform {
            do {
                try await pool.write { db in try row.update(db) }
            } catch RecordError.recordNotFound {
                throw MartletError(.notFound, "update store: sandbox \(sandbox.id): it is not on record")
            }
        }
    }

    package func remove(_ id: SandboxID) async throws {
        try await perform {
            _ = try await pool.write { db in try SandboxRow.deleteOne(db, key: id.rawValue) }
        }
    }
}
