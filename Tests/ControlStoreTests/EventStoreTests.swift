import ControlStore
import SandboxModel
import Testing

@Suite("Events in SQLiteStore")
struct EventStoreTests {
    @Test("Events come back in order, after a sequence number, a limited number at once")
    func order() async throws {
        let scratch = try Scratch()
        let store = try SQLiteStore.open(directory: scratch.path)
        let (one, other) = (SandboxID.random(), SandboxID.random())
        let stored = try await store.append((0..<10).map { event($0.isMultiple(of: 2) ? one : other, "\($0)") })
        #expect(stored.map(\.sequence) == stored.map(\.sequence).sorted())
        #expect(Set(stored.map(\.sequence)).count == 10)
        let found = try await store.events(of: one, after: 0, limit: 3)
        #expect(found.map(\.message) == ["0", "2", "4"])
        #expect(found[0].details == ["to": "running"])
        let rest = try await store.events(of: one, after: found[2].sequence, limit: 100)
        #expect(rest.map(\.message) == ["6", "8"])
    }

    @Test("Pruning keeps the newest of each sandbox and of all")
    func pruning() async throws {
        let scratch = try Scratch()
        let store = try SQLiteStore.open(directory: scratch.path)
        let (noisy, quiet) = (SandboxID.random(), SandboxID.random())
        _ = try await store.append([event(quiet, "first")])
        _ = try await store.append((0..<20).map { event(noisy, "\($0)") })
        try await store.pruneEvents(perSandbox: 5, total: 1000)
        let noise = try await store.events(of: noisy, after: 0, limit: 100)
        #expect(noise.map(\.message) == ["15", "16", "17", "18", "19"])
        #expect(try await store.events(of: quiet, after: 0, limit: 100).count == 1)
        try await store.pruneEvents(perSandbox: 5, total: 3)
        #expect(try await store.events(of: noisy, after: 0, limit: 100).map(\.message) == ["17", "18", "19"])
        #expect(try await store.events(of: quiet, after: 0, limit: 100).isEmpty)
    }

    @Test("Pruning one kind leaves the others alone")
    func kinds() async throws {
        let scratch = try Scratch()
        let store = try SQLiteStore.open(directory: scratch.path)
        let (noisy, quiet) = (SandboxID.random(), SandboxID.random())
        func denied(_ id: SandboxID, _ message: String) -> EventRecord {
            EventRecord(sandboxID: id, time: Timestamp(milliseconds: 1), kind: "denied", message: message)
        }
        _ = try await store.append([event(noisy, "made"), denied(quiet, "once")])
        _ = try await store.append((0..<20).map { denied(noisy, "\($0)") })
        try await store.pruneEvents(kind: "denied", perSandbox: 3, total: 1000)
        let left = try await store.events(of: noisy, after: 0, limit: 100)
        #expect(left.map(\.message) == ["made", "17", "18", "19"])
        #expect(try await store.events(of: quiet, after: 0, limit: 100).count == 1)
        try await store.pruneEvents(kind: "denied", perSandbox: 3, total: 2)
        #expect(try await store.events(of: noisy, after: 0, limit: 100).map(\.message) == ["made", "18", "19"])
        #expect(try await store.events(of: quiet, after: 0, limit: 100).isEmpty)
    }
}
