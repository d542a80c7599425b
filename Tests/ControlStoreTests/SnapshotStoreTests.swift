import ControlStore
import GRDB
import SandboxModel
import Testing

@Suite("Snapshots in the store")
struct SnapshotStoreTests {
    private func snapshot(
        of sandbox: SandboxID = .random(), name: String? = nil, parent: SnapshotID? = nil, isDeleting: Bool = false
    ) -> SnapshotRecord {
        SnapshotRecord(
            id: .random(), keyID: nil, name: name, kind: .checkpoint, number: 3, sandbox: sandbox, parent: parent,
            template: "base", isolation: Isolation(engine: "qemu", accelerator: "tcg", level: .emulatedVM), cpus: 2,
            memoryMiB: 256, diskMiB: 2048, createdAt: Timestamp(milliseconds: 7),
            capture: CaptureReport(
                capturedAt: Timestamp(milliseconds: 6), pauseMilliseconds: 12.5, phases: ["pages": 3.25],
                memoryBytes: 1 << 40, diskBytes: 4096),
            metadata: ["k": "v"], isDeleting: isDeleting)
    }

    @Test("A snapshot and its sandbox come back as they were stored, also after closing")
    func roundTrip() async throws {
        let scratch = try Scratch()
        var taken = sandbox(name: "web")
        let record = snapshot(of: taken.id, name: "first", parent: .random())
        do {
            let store = try SQLiteStore.open(directory: scratch.path)
            _ = try await store.insert(taken, event: event(taken.id), idempotency: nil)
            taken.onTimeout = .pause
            taken.isRecorded = true
            taken.state = .paused
            taken.pausedAt = Timestamp(milliseconds: 11)
            taken.capture = record.capture
            taken.currentSnapshot = record.id
            taken.nextCheckpoint = 4
            let latest = taken
            try await store.insert(record, idempotency: nil) { latest }
        }
        let store = try SQLiteStore.open(directory: scratch.path)
        #expect(try await store.snapshots() == [record])
        #expect(try await store.sandboxes() == [taken])
    }

    @Test("Two snapshots cannot have one name, unless one is on its way out")
    func names() async throws {
        let scratch = try Scratch()
        let store = try SQLiteStore.open(directory: scratch.path)
        var first = snapshot(name: "gold")
        try await store.insert(first, idempotency: nil) { nil }
        let second = snapshot(name: "gold")
        let error = await #expect(throws: MartletError.self) {
            try await store.insert(second, idempotency: nil) { nil }
        }
        #expect(error?.code == .conflict)
        first.isDeleting = true
        try await store.update(first)
        try await store.insert(second, idempotency: nil) { nil }
        let unknown = snapshot()
        let missing = await #expect(throws: MartletError.self) { try await store.update(unknown) }
        #expect(missing?.code == .notFound)
    }

    @Test("What came from a snapshot that is removed comes from its parent")
    func removal() async throws {
        let scratch = try Scratch()
        let store = try SQLiteStore.open(directory: scratch.path)
        let first = snapshot()
        let second = snapshot(parent: first.id)
        var third = snapshot(parent: second.id)
        var user = sandbox()
        user.currentSnapshot = second.id
        _ = try await store.insert(user, event: event(user.id), idempotency: nil)
        for record in [first, second, third] { try await store.insert(record, idempotency: nil) { nil } }
        try await store.remove(second.id)
        try await store.remove(second.id)
        third.parent = first.id
        let left = try await store.snapshots()
        #expect(left.count == 2)
        #expect(left.contains(third))
        #expect(try await store.sandboxes().first?.currentSnapshot == first.id)
    }

    @Test("The newest record is written, whoever writes last; what is gone stays gone")
    func latest() async throws {
        let scratch = try Scratch()
        let store = try SQLiteStore.open(directory: scratch.path)
        let made = [sandbox(name: "a"), sandbox(name: "b")]
        let events = try await store.insert(made.map { ($0, event($0.id)) })
        #expect(events.map(\.sandboxID) == made.map(\.id))
        var changed = made[0]
        changed.metadata = ["new": "yes"]
        let newest = changed
        try await store.updateLatest { newest }
        #expect(try await store.sandboxes().contains(newest))
        try await store.updateLatest { nil }
        try await store.remove(newest.id)
        try await store.updateLatest { newest }
        #expect(try await store.sandboxes() == [made[1]])
        // One name that is taken leaves none of them.
        let clash = [sandbox(name: "c"), sandbox(name: "b")]
        await #expect(throws: MartletError.self) { try await store.insert(clash.map { ($0, event($0.id)) }) }
        #expect(try await store.sandboxes() == [made[1]])
    }

    @Test("A database of the version before keeps its sandboxes")
    func migration() async throws {
        let scratch = try Scratch()
        let old = sandbox(name: "old", keyID: nil)
        do {
            let store = try SQLiteStore.open(directory: scratch.path)
            _ = try await store.insert(old, event: event(old.id), idempotency: nil)
        }
        do {
            let queue = try DatabaseQueue(path: scratch.path + "/martlet.db")
            try await queue.write { db in
                for table in ["snapshot", "publishedPort"] { try db.execute(sql: "DROP TABLE \(table)") }
                for column in [
                    "onTimeout", "isRecorded", "pausedAt", "capture", "currentSnapshot", "nextCheckpoint", "network",
                    "secrets", "secretFacts", "dialect",
                ] { try db.execute(sql: "ALTER TABLE sandbox DROP COLUMN \(column)") }
                try db.execute(sql: "DELETE FROM grdb_migrations WHERE identifier > '2'")
            }
        }
        let store = try SQLiteStore.open(directory: scratch.path)
        #expect(try await store.sandboxes() == [old])
        #expect(try await store.snapshots().isEmpty)
        try await store.insert(snapshot(of: old.id), idempotency: nil) { nil }
        #expect(try await store.snapshots().count == 1)
    }
}
