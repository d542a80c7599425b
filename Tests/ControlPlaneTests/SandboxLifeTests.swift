import ControlStore
import MartletAPI
import Node
import SandboxModel
import Testing

@testable import ControlPlane

@Suite("The life of sandboxes")
struct SandboxLifeTests {
    @Test("A sandbox that was made is there, in memory and in the store, and gone when killed")
    func madeAndKilled() async throws {
        try await PlaneFixture.with { fixture in
            let made = try await fixture.create(
                CreateSandboxRequest(name: "web", timeoutSeconds: 60, env: ["A": "1"], metadata: ["team": "blue"]))
            #expect(made.state == .running)
            #expect(made.create?.phases["record"] != nil)
            #expect(made.expiresAt == made.createdAt.adding(seconds: 60))
            #expect(fixture.node.created[0].environment == ["A=1"])
            #expect(fixture.node.created[0].hostname == "web")
            #expect(try fixture.plane.sandboxes.get("web", caller: .local).id == made.id)
            #expect(try await fixture.store.sandboxes().map(\.id.rawValue) == [made.id])
            try await fixture.plane.sandboxes.delete("web", caller: .local)
            #expect(try await fixture.store.sandboxes().isEmpty)
            #expect(await fixture.node.sandboxes().isEmpty)
            for name in ["web", made.id] {
                let error = await #expect(throws: MartletError.self) {
                    try await fixture.plane.sandboxes.delete(name, caller: .local)
                }
                #expect(error?.code == .notFound)
            }
        }
    }

    @Test("Of creates with one name side by side exactly one succeeds")
    func nameRace() async throws {
        try await PlaneFixture.with { fixture in
            let gate = Latch()
            fixture.node.holdCreates { try? await gate.wait() }
            let outcomes = await withTaskGroup(of: MartletError.Code?.self) { group in
                for _ in 0..<8 {
                    group.addTask {
                        do {
                            _ = try await fixture.create(CreateSandboxRequest(name: "web"))
                            return nil
                        } catch {
                            return (error as? MartletError)?.code
                        }
                    }
                }
                var outcomes: [MartletError.Code?] = []
                // All but one are refused while that one is still being made.
                for _ in 0..<7 { if let outcome = await group.next() { outcomes.append(outcome) } }
                gate.open()
                for await outcome in group { outcomes.append(outcome) }
                return outcomes
            }
            #expect(outcomes.filter { $0 == nil }.count == 1)
            #expect(outcomes.filter { $0 == .conflict }.count == 7)
            #expect(await fixture.node.sandboxes().count == 1)
        }
    }

    @Test("A key has so many sandboxes and no more, and gets its place back when one ends")
    func limits() async throws {
        try await PlaneFixture.with(configure: { $0.maxSandboxesPerKey = 2 }) { fixture in
            let text = try await fixture.plane.keys.make(label: "user", isAdmin: false)
            let caller = try #require(fixture.plane.keys.caller(presenting: text))
            func create() async throws -> SandboxResource {
                try await fixture.plane.sandboxes.create(.init(), idempotencyKey: nil, caller: caller)
            }
            let first = try await create()
            _ = try await create()
            let error = await #expect(throws: MartletError.self) { try await create() }
            #expect(error?.code == .resourceExhausted)
            #expect(error?.details["scope"] == "key")
            #expect(fixture.node.created.count == 2)
            try await fixture.plane.sandboxes.delete(first.id, caller: caller)
            _ = try await create()
            // The local user is bound by the host only.
            for _ in 0..<3 { _ = try await fixture.create() }
        }
    }

    @Test("Failed creates give name and place back, and leave nothing")
    func failedCreate() async throws {
        try await PlaneFixture.with { fixture in
            fixture.node.failCreates(MartletError(.resourceExhausted, "node: full"))
            let error = await #expect(throws: MartletError.self) {
                try await fixture.create(CreateSandboxRequest(name: "web"))
            }
            #expect(error?.code == .resourceExhausted)
            fixture.node.failCreates(nil)
            _ = try await fixture.create(CreateSandboxRequest(name: "web"))
            let unknown = await #expect(throws: MartletError.self) {
                try await fixture.create(CreateSandboxRequest(template: "nope"))
            }
            #expect(unknown?.code == .notFound)
            for (isolation, known) in [("firecracker", true), ("nope", false)] {
                let error = await #expect(throws: MartletError.self) {
                    try await fixture.create(CreateSandboxRequest(isolation: isolation))
                }
                #expect(error?.code == .unsupported)
                #expect(error?.message.contains("not installed") == known)
            }
            #expect(await fixture.node.sandboxes().count == 1)
        }
    }

    @Test("Another key's sandbox does not exist; an administrator sees all")
    func ownership() async throws {
        try await PlaneFixture.with { fixture in
            let keys = fixture.plane.keys
            let (one, other) = (
                try await keys.make(label: "one", isAdmin: false), try await keys.make(label: "other", isAdmin: false)
            )
            let owner = try #require(keys.caller(presenting: one))
            let stranger = try #require(keys.caller(presenting: other))
            let sandboxes = fixture.plane.sandboxes
            let made = try await sandboxes.create(.init(name: "mine"), idempotencyKey: nil, caller: owner)
            #expect(try sandboxes.get("mine", caller: owner).id == made.id)
            #expect(try sandboxes.get("mine", caller: .local).id == made.id)
            #expect(try sandboxes.list(SandboxFilter(), caller: stranger).items.isEmpty)
            for name in ["mine", made.id] {
                let error = #expect(throws: MartletError.self) { try sandboxes.get(name, caller: stranger) }
                #expect(error?.code == .notFound)
                await #expect(throws: MartletError.self) { try await sandboxes.delete(name, caller: stranger) }
            }
            #expect(try sandboxes.get(made.id, caller: owner).state == .running)
        }
    }

    @Test("A sandbox ends when its time is over")
    func expiry() async throws {
        try await PlaneFixture.with { fixture in
            let made = try await fixture.create(CreateSandboxRequest(timeoutSeconds: 1))
            let kept = try await fixture.create(CreateSandboxRequest(timeoutSeconds: 600))
            try await fixture.waitForEvent(made.id, kind: "expired")
            #expect(fixture.node.destroyed.map(\.rawValue) == [made.id])
            #expect(throws: MartletError.self) { try fixture.plane.sandboxes.get(made.id, caller: .local) }
            #expect(try fixture.plane.sandboxes.get(kept.id, caller: .local).state == .running)
        }
    }

    @Test("A changed time-out counts from now, in the store too, and wakes the reaper")
    func update() async throws {
        try await PlaneFixture.with { fixture in
            let made = try await fixture.create(CreateSandboxRequest(timeoutSeconds: 600, metadata: ["a": "1"]))
            let sandboxes = fixture.plane.sandboxes
            let changed = try await sandboxes.update(
                made.id, UpdateSandboxRequest(timeoutSeconds: 1200, metadata: ["b": "2"]), caller: .local)
            #expect(changed.metadata == ["b": "2"])
            #expect(changed.expiresAt.map { $0 >= made.createdAt.adding(seconds: 1200) } == true)
            #expect(try await fixture.store.sandboxes()[0].metadata == ["b": "2"])
            _ = try await sandboxes.update(made.id, UpdateSandboxRequest(timeoutSeconds: 1), caller: .local)
            try await fixture.waitForEvent(made.id, kind: "expired")
        }
    }

    @Test("A machine that dies leaves a failed sandbox with the reason, which can be deleted")
    func crash() async throws {
        try await PlaneFixture.with { fixture in
            let made = try await fixture.create(CreateSandboxRequest(name: "web"))
            let id = try #require(SandboxID(rawValue: made.id))
            fixture.node.crash(id, reason: "QEMU was killed by signal 9\n")
            try await fixture.waitForEvent(made.id, kind: "state", message: "QEMU was killed by signal 9?")
            let failed = try fixture.plane.sandboxes.get("web", caller: .local)
            #expect(failed.state == .failed)
            #expect(failed.stateReason == "QEMU was killed by signal 9?")
            let error = await #expect(throws: MartletError.self) {
                try await fixture.plane.processes.exec(made.id, ExecRequest(cmd: .shell("true")), caller: .local)
            }
            #expect(error?.code == .failedPrecondition)
            // Its name is free again.
            let second = try await fixture.create(CreateSandboxRequest(name: "web"))
            #expect(try fixture.plane.sandboxes.get("web", caller: .local).id == second.id)
            try await fixture.plane.sandboxes.delete(made.id, caller: .local)
            #expect(try fixture.plane.sandboxes.list(SandboxFilter(), caller: .local).items.map(\.id) == [second.id])
        }
    }

    @Test("A sandbox that cannot be ended stays visible as failed, and can be ended later")
    func failedDelete() async throws {
        try await PlaneFixture.with { fixture in
            let made = try await fixture.create()
            fixture.node.failDestroys(MartletError(.internal, "destroy: it does not go"))
            await #expect(throws: MartletError.self) {
                try await fixture.plane.sandboxes.delete(made.id, caller: .local)
            }
            #expect(try fixture.plane.sandboxes.get(made.id, caller: .local).state == .failed)
            #expect(try await fixture.store.sandboxes().map(\.state) == [.failed])
            fixture.node.failDestroys(nil)
            try await fixture.plane.sandboxes.delete(made.id, caller: .local)
            #expect(try await fixture.store.sandboxes().isEmpty)
            #expect(await fixture.node.sandboxes().isEmpty)
        }
    }
}
