import ControlStore
import GRDB
import SandboxModel
import Testing

@Suite("A store that is damaged")
struct DamagedStoreTests {
    @Test("A file that is no database is told of, and left as it is")
    func noDatabase() throws {
        let scratch = try Scratch()
        let junk = Array("this is not a database, but it may be somebody's only copy of something ".utf8)
        let bytes = (0..<100).flatMap { _ in junk }
        scratch.write(bytes, to: "martlet.db")
        let error = #expect(throws: MartletError.self) { try SQLiteStore.open(directory: scratch.path) }
        #expect(error?.code == .failedPrecondition)
        #expect(error?.message.contains("martlet.db") == true)
        #expect(error?.message.contains("move it away") == true)
        #expect(scratch.read("martlet.db") == bytes)
    }

    @Test("A database with overwritten pages is told of, and left as it is")
    func overwritten() async throws {
        let scratch = try Scratch()
        do {
            let store = try SQLiteStore.open(directory: scratch.path)
            for _ in 0..<50 {
                let record = sandbox()
                _ = try await store.insert(record, event: event(record.id), idempotency: nil)
            }
            try await store.pruneEvents(perSandbox: 1000, total: 1000)
        }
        var bytes = scratch.read("martlet.db")
        try #require(bytes.count > 16_384)
        for index in 4096..<bytes.count { bytes[index] = UInt8(truncatingIfNeeded: index &* 31) }
        scratch.write(bytes, to: "martlet.db")
        let error = #expect(throws: MartletError.self) { try SQLiteStore.open(directory: scratch.path) }
        #expect(error?.code == .failedPrecondition)
        #expect(scratch.read("martlet.db") == bytes)
    }

    @Test("A database of a newer Martlet is refused")
    func newer() async throws {
        let scratch = try Scratch()
        do { _ = try SQLiteStore.open(directory: scratch.path) }
        do {
            let queue = try DatabaseQueue(path: scratch.path + "/martlet.db")
            try await queue.write { db in
                try db.execute(sql: "INSERT INTO grdb_migrations VALUES ('99 from the future')")
            }
        }
        let error = #expect(throws: MartletError.self) { try SQLiteStore.open(directory: scratch.path) }
        #expect(error?.code == .failedPrecondition)
        #expect(error?.message.contains("newer") == true)
    }

    @Test("An empty file is a new store")
    func empty() async throws {
        let scratch = try Scratch()
        scratch.write([], to: "martlet.db")
        let store = try SQLiteStore.open(directory: scratch.path)
        #expect(try await store.sandboxes().isEmpty)
    }
}
