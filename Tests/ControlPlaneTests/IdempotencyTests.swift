import MartletAPI
import SandboxModel
import Testing

@testable import ControlPlane

@Suite("Idempotency keys")
struct IdempotencyTests {
    private func create(
        _ fixture: PlaneFixture, key: String, _ request: CreateSandboxRequest = .init(), caller: Caller = .local
    ) async throws -> SandboxResource {
        try await fixture.plane.sandboxes.create(request, idempotencyKey: key, caller: caller)
    }

    @Test("The same key and request make one sandbox, also side by side")
    func once() async throws {
        try await PlaneFixture.with { fixture in
            let ids = try await withThrowingTaskGroup(of: String.self) { group in
                for _ in 0..<10 {
                    group.addTask { try await create(fixture, key: "k", CreateSandboxRequest(metadata: ["a": "1"])).id }
                }
                return try await group.reduce(into: Set<String>()) { $0.insert($1) }
            }
            #expect(ids.count == 1)
            #expect(fixture.node.created.count == 1)
            #expect(try await create(fixture, key: "k", CreateSandboxRequest(metadata: ["a": "1"])).id == ids.first)
        }
    }

    @Test("Another request with the key is a conflict, also while the first is under way")
    func otherRequest() async throws {
        try await PlaneFixture.with { fixture in
            let (gate, began) = (Latch(), Latch())
            fixture.node.holdCreates {
                began.open()
                try? await gate.wait()
            }
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { _ = try await create(fixture, key: "k") }
                try await began.wait()
                let error = await #expect(throws: MartletError.self) {
                    try await create(fixture, key: "k", CreateSandboxRequest(cpus: 2))
                }
                #expect(error?.code == .conflict)
                gate.open()
                try await group.waitForAll()
            }
            let later = await #expect(throws: MartletError.self) {
                try await create(fixture, key: "k", CreateSandboxRequest(cpus: 2))
            }
            #expect(later?.code == .conflict)
            #expect(fixture.node.created.count == 1)
        }
    }

    @Test("Keys of different callers are different keys")
    func scoped() async throws {
        try await PlaneFixture.with { fixture in
            let text = try await fixture.plane.keys.make(label: "user", isAdmin: false)
            let caller = try #require(fixture.plane.keys.caller(presenting: text))
            let mine = try await create(fixture, key: "k")
            let theirs = try await create(fixture, key: "k", caller: caller)
            #expect(mine.id != theirs.id)
        }
    }

    @Test("A create that failed leaves the key free; one whose sandbox is gone does not make another")
    func afterFailure() async throws {
        try await PlaneFixture.with { fixture in
            fixture.node.failCreates(MartletError(.unavailable, "node: not now"))
            await #expect(throws: MartletError.self) { try await create(fixture, key: "k") }
            fixture.node.failCreates(nil)
            let made = try await create(fixture, key: "k")
            try await fixture.plane.sandboxes.delete(made.id, caller: .local)
            let error = await #expect(throws: MartletError.self) { try await create(fixture, key: "k") }
            #expect(error?.code == .conflict)
            #expect(error?.details["sandbox"] == made.id)
        }
    }

    @Test("It lasts over a restart")
    func restart() async throws {
        let (scratch, node) = (try Scratch(), TestNode())
        try await PlaneFixture.with(node: node, scratch: scratch) { fixture in
            _ = try await create(fixture, key: "k")
        }
        try await PlaneFixture.with(node: node, scratch: scratch) { fixture in
            _ = try await create(fixture, key: "k")
        }
        #expect(node.created.count == 1)
    }

    @Test("Keys that are none are refused", arguments: ["", "a b", "ü", String(repeating: "x", count: 256)])
    func badKeys(key: String) async throws {
        try await PlaneFixture.with { fixture in
            let error = await #expect(throws: MartletError.self) { try await create(fixture, key: key) }
            #expect(error?.details["field"] == "Idempotency-Key")
        }
    }
}
