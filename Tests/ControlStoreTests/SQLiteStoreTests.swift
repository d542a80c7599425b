import ControlStore
import SandboxModel
import Testing

@Suite("SQLiteStore")
struct SQLiteStoreTests {
    @Test("A sandbox comes back as it was stored, also after closing")
    func roundTrip() async throws {
        let scratch = try Scratch()
        let record = sandbox(name: "web", keyID: nil)
        do {
            let store = try SQLiteStore.open(directory: scratch.path)
            _ = try await store.insert(record, event: event(record.id), idempotency: nil)
        }
        let store = try SQLiteStore.open(directory: scratch.path)
        #expect(try await store.sandboxes() == [record])
    }

    @Test("Its files are readable by their owner only")
    func modes() async throws {
        let scratch = try Scratch()
        let store = try SQLiteStore.open(directory: scratch.path)
        let record = sandbox()
        _ = try await store.insert(record, event: event(record.id), idempotency: nil)
        #expect(scratch.mode("martlet.db") == 0o600)
        #expect(scratch.mode("martlet.db-wal") == 0o600)
        #expect(scratch.mode("martlet.db.lock") == 0o600)
    }

    @Test("A second daemon on the same directory is refused, until the first is gone")
    func oneAtATime() throws {
        let scratch = try Scratch()
        var first: SQLiteStore? = try SQLiteStore.open(directory: scratch.path)
        let error = #expect(throws: MartletError.self) { try SQLiteStore.open(directory: scratch.path) }
        #expect(error?.code == .conflict)
        withExtendedLifetime(first) {}
        first = nil
        _ = try SQLiteStore.open(directory: scratch.path)
    }

    @Test("Two live sandboxes cannot have one name; a failed one does not hold it")
    func names() async throws {
        let scratch = try Scratch()
        let store = try SQLiteStore.open(directory: scratch.path)
        let dead = sandbox(name: "web", state: .failed)
        let live = sandbox(name: "web")
        _ = try await store.insert(dead, event: event(dead.id), idempotency: nil)
        _ = try await store.insert(live, event: event(live.id), idempotency: nil)
        let third = sandbox(name: "web")
        let error = await #expect(throws: MartletError.self) {
            try await store.insert(third, event: event(third.id), idempotency: nil)
        }
        #expect(error?.code == .conflict)
        #expect(try await store.sandboxes().count == 2)
        #expect(try await store.events(of: third.id, after: 0, limit: 10).isEmpty)
    }

    @Test("Updating changes the record; what is not there cannot be updated")
    func update() async throws {
        let scratch = try Scratch()
        let store = try SQLiteStore.open(directory: scratch.path)
        var record = sandbox()
        _ = try await store.insert(record, event: event(record.id), idempotency: nil)
        record.state = .failed
        record.reason = "lost"
        record.metadata = [:]
        try await store.update(record)
        #expect(try await store.sandboxes() == [record])
        let error = await #expect(throws: MartletError.self) { try await store.update(sandbox()) }
        #expect(error?.code == .notFound)
    }

    @Test("Removing forgets the sandbox and keeps its history; twice is no error")
    func remove() async throws {
        let scratch = try Scratch()
        let store = try SQLiteStore.open(directory: scratch.path)
        let record = sandbox()
        _ = try await store.insert(record, event: event(record.id), idempotency: nil)
        try await store.remove(record.id)
        try await store.remove(record.id)
        #expect(try await store.sandboxes().isEmpty)
        #expect(try await store.events(of: record.id, after: 0, limit: 10).map(\.message) == ["made"])
    }

    @Test("A sandbox of a key that is not there is refused")
    func foreignKeys() async throws {
        let scratch = try Scratch()
        let store = try SQLiteStore.open(directory: scratch.path)
        let record = sandbox(keyID: "k-unknown")
        await #expect(throws: MartletError.self) {
            try await store.insert(record, event: event(record.id), idempotency: nil)
        }
        try await store.insert(key("k-known"))
        let owned = sandbox(keyID: "k-known")
        _ = try await store.insert(owned, event: event(owned.id), idempotency: nil)
        #expect(try await store.sandboxes() == [owned])
    }

    @Test("Keys keep their hash, and revoking lasts")
    func keys() async throws {
        let scratch = try Scratch()
        let store = try SQLiteStore.open(directory: scratch.path)
        try await store.insert(key("k1"))
        try await store.insert(key("k2", byte: 2))
        await #expect(throws: MartletError.self) { try await store.insert(key("k3", byte: 2)) }
        try await store.revokeKey("k2", at: Timestamp(milliseconds: 9))
        try await store.revokeKey("k2", at: Timestamp(milliseconds: 11))
        var revoked = key("k2", byte: 2)
        revoked.revokedAt = Timestamp(milliseconds: 9)
        #expect(try await store.keys().sorted { $0.id < $1.id } == [key("k1"), revoked])
    }

    @Test("An idempotency key is kept with the sandbox it made, per API key, and pruned by age")
    func idempotency() async throws {
        let scratch = try Scratch()
        let store = try SQLiteStore.open(directory: scratch.path)
        let record = sandbox()
        let used = IdempotencyRecord(
            keyID: "", key: "once", requestHash: [1, 2, 3], made: record.id.rawValue,
            createdAt: Timestamp(milliseconds: 100))
        _ = try await store.insert(record, event: event(record.id), idempotency: used)
        #expect(try await store.idempotency(keyID: "", key: "once") == used)
        #expect(try await store.idempotency(keyID: "k1", key: "once") == nil)
        try await store.pruneIdempotency(before: Timestamp(milliseconds: 100))
        #expect(try await store.idempotency(keyID: "", key: "once") == used)
        try await store.pruneIdempotency(before: Timestamp(milliseconds: 101))
        #expect(try await store.idempotency(keyID: "", key: "once") == nil)
    }
}
