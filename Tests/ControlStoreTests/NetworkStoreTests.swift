import GRDB
import SandboxModel
import Testing

@testable import ControlStore

@Suite("Networks and secrets in the store")
struct NetworkStoreTests {
    private static let value = "sk-3f9a7c15e2b84d06-hunter2"

    private let policy = NetworkPolicy(
        mode: .allowlist, allow: ["a.example:443", "203.0.113.0/24"].compactMap { NetworkRule($0) },
        deny: ["b.example"].compactMap { NetworkRule($0) }, dns: .init(servers: [IPv4Address(192, 0, 2, 1)]),
        rateMbps: 9, maxConnections: 7)

    private let secrets = SandboxSecrets(
        secrets: [
            NetworkSecret(
                name: "KEY", placeholder: "martlet-secret-key-0", value: NetworkStoreTests.value,
                hosts: [HostPattern("*.a.example")].compactMap(\.self), header: "X-Key", format: "Bearer {value}")
        ], authority: NetworkAuthority(certificate: "certificate", privateKey: "private key"))

    private func contains(_ bytes: [UInt8], _ text: String) -> Bool {
        let wanted = Array(text.utf8)
        return bytes.indices.contains { bytes[$0...].starts(with: wanted) }
    }

    @Test("Both come back as they were stored, also after closing; no value is in a file")
    func roundTrip() async throws {
        let scratch = try Scratch()
        var record = sandbox(name: "web")
        record.network = policy
        do {
            let store = try SQLiteStore.open(directory: scratch.path)
            #expect(scratch.mode("secrets.key") == nil)
            record.secrets = try await store.seal(secrets, for: record.id)
            #expect(scratch.mode("secrets.key") == 0o600)
            _ = try await store.insert(record, event: event(record.id), idempotency: nil)
            for name in ["martlet.db", "martlet.db-wal", "secrets.key"] {
                #expect(!contains(scratch.read(name), Self.value) && !contains(scratch.read(name), "private key"))
            }
        }
        let store = try SQLiteStore.open(directory: scratch.path)
        let found = try #require(try await store.sandboxes().first)
        #expect(found == record)
        let sealed = try #require(found.secrets)
        #expect(try await store.unseal(sealed, for: record.id) == secrets)
        #expect(sealed.facts == secrets.secrets.map(SecretFacts.init))
        #expect(scratch.read("secrets.key").count == 32)
        // The same once more is other bytes: nonces are not used twice.
        #expect(try await store.seal(secrets, for: record.id).bytes != sealed.bytes)
    }

    @Test("What is damaged, of another sandbox or of another key is refused, and says so")
    func unreadable() async throws {
        let scratch = try Scratch()
        let store = try SQLiteStore.open(directory: scratch.path)
        let id = SandboxID.random()
        let sealed = try await store.seal(secrets, for: id)
        for position in [0, 4, 9, 25, sealed.bytes.count - 1] {
            var damaged = sealed
            damaged.bytes[position] ^= 1
            await #expect(throws: MartletError.self) { try await store.unseal(damaged, for: id) }
        }
        for length in [0, 1, 9, 10, 36, sealed.bytes.count - 1] {
            let cut = SealedSecrets(bytes: Array(sealed.bytes.prefix(length)), facts: [])
            await #expect(throws: MartletError.self) { try await store.unseal(cut, for: id) }
        }
        let error = await #expect(throws: MartletError.self) { try await store.unseal(sealed, for: .random()) }
        #expect(error?.code == .failedPrecondition)
        let other = try Scratch()
        let elsewhere = try SQLiteStore.open(directory: other.path)
        let missing = await #expect(throws: MartletError.self) { try await elsewhere.unseal(sealed, for: id) }
        #expect(missing?.message.contains("is gone") == true)
        _ = try await elsewhere.seal(secrets, for: id)
        let foreign = await #expect(throws: MartletError.self) { try await elsewhere.unseal(sealed, for: id) }
        #expect(foreign?.message.contains("another key") == true)
        #expect(!(foreign?.message.contains(Self.value) ?? true))
    }

    @Test("A file that holds no key is left as it is, and nothing is encrypted with another")
    func badKey() async throws {
        let scratch = try Scratch()
        scratch.write([1, 2, 3], to: "secrets.key")
        let store = try SQLiteStore.open(directory: scratch.path)
        let error = await #expect(throws: MartletError.self) { try await store.seal(secrets, for: .random()) }
        #expect(error?.code == .failedPrecondition)
        #expect(scratch.read("secrets.key") == [1, 2, 3])
    }

    @Test("A value's fingerprint tells values apart, is not a plain hash, and is another for another key")
    func fingerprints() async throws {
        let (one, other) = (try Scratch(), try Scratch())
        let store = try SQLiteStore.open(directory: one.path)
        let first = try await store.fingerprint(ofSecret: "a")
        #expect(first.utf8.count == 64)
        #expect(try await store.fingerprint(ofSecret: "a") == first)
        #expect(try await store.fingerprint(ofSecret: "b") != first)
        #expect(try await SQLiteStore.open(directory: other.path).fingerprint(ofSecret: "a") != first)
    }

    @Test("A database of the version before keeps its sandboxes and snapshots; they have no network")
    func migration() async throws {
        let scratch = try Scratch()
        let (id, snapshotID) = (SandboxID.random(), SnapshotID.random())
        do {
            let queue = try DatabaseQueue(path: scratch.path + "/martlet.db")
            try Schema.migrator.migrate(queue, upTo: "2 snapshots")
            try await queue.write { db in
                try db.execute(
                    sql: """
                        INSERT INTO sandbox (id, name, template, state, engine, accelerator, level, cpus, memoryMiB,
                        diskMiB, createdAt, expiresAt, timeoutSeconds, metadata, createReport, onTimeout, isRecorded,
                        nextCheckpoint) VALUES (?, 'old', 'base', 'running', 'qemu', 'tcg', 'emulated-vm', 1, 256, 2048,
                        5, 6, 300, '{"k":"v"}', '{"mode":"warm","total_ms":9.5,"phases":{}}', 'pause', 0, 4)
                        """, arguments: [id.rawValue])
                try db.execute(
                    sql: """
                        INSERT INTO snapshot (id, name, kind, sandboxID, template, engine, accelerator, level, cpus,
                        memoryMiB, diskMiB, createdAt, capture, metadata, isDeleting) VALUES (?, 'gold', 'snapshot', ?,
                        'base', 'qemu', 'tcg', 'emulated-vm', 1, 256, 2048, 7, '{"captured_at":"2026-11-23T20:15:00.125Z",
                        "pause_ms":1,"phases":{},"memory_bytes":1,"disk_bytes":2}', '{}', 0)
                        """, arguments: [snapshotID.rawValue, id.rawValue])
            }
        }
        let store = try SQLiteStore.open(directory: scratch.path)
        var old = try #require(try await store.sandboxes().first)
        #expect(old.id == id && old.name == "old" && old.metadata == ["k": "v"] && old.nextCheckpoint == 4)
        #expect(old.network == .closed && old.secrets == nil)
        let snapshot = try #require(try await store.snapshots().first)
        #expect(snapshot.id == snapshotID && snapshot.name == "gold" && snapshot.network == nil)
        old.network = policy
        old.secrets = try await store.seal(secrets, for: id)
        try await store.update(old)
        #expect(try await store.sandboxes() == [old])
    }
}
