import ControlStore
import SandboxModel
import Testing

@Suite("Published ports in the store")
struct PortStoreTests {
    @Test("A port comes back as it was stored, is replaced as a whole, and goes with its sandbox")
    func roundTrip() async throws {
        let scratch = try Scratch()
        let owner = sandbox()
        var record = PortRecord(
            sandbox: owner.id, port: 65_535, visibility: .private, wake: false,
            tokenHash: [UInt8](repeating: 7, count: 32),
            createdAt: Timestamp(milliseconds: 5), expiresAt: Timestamp(milliseconds: 6))
        let open = PortRecord(
            sandbox: owner.id, port: 1, visibility: .public, wake: nil, tokenHash: nil,
            createdAt: Timestamp(milliseconds: 5), expiresAt: nil)
        do {
            let store = try SQLiteStore.open(directory: scratch.path)
            _ = try await store.insert(owner, event: event(owner.id), idempotency: nil)
            try await store.put(record)
            try await store.put(open)
        }
        let store = try SQLiteStore.open(directory: scratch.path)
        #expect(try await store.ports().sorted { $0.port < $1.port } == [open, record])
        record.wake = true
        record.tokenHash = [UInt8](repeating: 8, count: 32)
        try await store.put(record)
        try await store.removePort(1, of: owner.id)
        try await store.removePort(2, of: owner.id)
        #expect(try await store.ports() == [record])
        // A change of the sandbox leaves it.
        var changed = owner
        changed.state = .paused
        try await store.update(changed)
        #expect(try await store.ports() == [record])
        try await store.remove(owner.id)
        #expect(try await store.ports().isEmpty)
    }

    @Test("A sandbox that is not on record has no ports")
    func missing() async throws {
        let scratch = try Scratch()
        let store = try SQLiteStore.open(directory: scratch.path)
        let record = PortRecord(
            sandbox: .random(), port: 80, visibility: .public, wake: nil, tokenHash: nil,
            createdAt: Timestamp(milliseconds: 1),
            expiresAt: nil)
        let error = await #expect(throws: MartletError.self) { try await store.put(record) }
        #expect(error?.code == .notFound)
    }
}
