import ControlStore
import MartletAPI
import Node
import SandboxModel
import Testing

@testable import ControlPlane

@Suite("A daemon that starts again")
struct ReconciliationTests {
    @Test("What still runs goes on with its deadline; what is gone has failed; what nobody knows is ended")
    func takeOver() async throws {
        let (scratch, node) = (try Scratch(), TestNode())
        var kept: SandboxResource?
        var lost: SandboxResource?
        try await PlaneFixture.with(node: node, scratch: scratch) { fixture in
            kept = try await fixture.create(CreateSandboxRequest(name: "kept", timeoutSeconds: 900))
            lost = try await fixture.create(CreateSandboxRequest(name: "lost"))
        }
        let (keptID, lostID) = (try #require(kept?.id), try #require(lost?.id))
        try await node.destroy(try #require(SandboxID(rawValue: lostID)))
        let orphan = SandboxID.random()
        _ = try await node.create(SandboxSpec(id: orphan, template: "base", hostname: "orphan"))
        try await PlaneFixture.with(node: node, scratch: scratch) { fixture in
            let sandboxes = fixture.plane.sandboxes
            let adopted = try sandboxes.get("kept", caller: .local)
            #expect(adopted.state == .running)
            #expect(adopted.expiresAt == kept?.expiresAt)
            #expect(adopted.name == "kept")
            let result = try await fixture.plane.processes.exec(
                keptID, ExecRequest(cmd: .arguments(["echo", "still here"])), caller: .local)
            #expect(result.stdout == "still here\n")
            let failed = try sandboxes.get(lostID, caller: .local)
            #expect(failed.state == .failed)
            #expect(failed.stateReason?.hasPrefix("lost:") == true)
            #expect(node.destroyed.contains(orphan))
            #expect(await node.sandboxes().map(\.id.rawValue) == [keptID])
            // The name of what was lost is free.
            _ = try await fixture.create(CreateSandboxRequest(name: "lost"))
        }
        try await PlaneFixture.with(node: node, scratch: scratch) { fixture in
            let lost = try fixture.plane.sandboxes.get(lostID, caller: .local)
            #expect(lost.state == .failed)
            let all = try fixture.plane.sandboxes.list(SandboxFilter(), caller: .local).items
            #expect(all.count == 3)
        }
    }

    @Test("What should have ended while no daemon ran ends at the start")
    func overdue() async throws {
        let (scratch, node) = (try Scratch(), TestNode())
        var made: SandboxResource?
        try await PlaneFixture.with(node: node, scratch: scratch) { fixture in
            made = try await fixture.create(CreateSandboxRequest(timeoutSeconds: 600))
        }
        let id = try #require(made.flatMap { SandboxID(rawValue: $0.id) })
        do {
            let store = try await scratch.openStore()
            var record = try #require(try await store.sandboxes().first)
            record.expiresAt = Timestamp(milliseconds: 1)
            try await store.update(record)
        }
        try await PlaneFixture.with(node: node, scratch: scratch) { fixture in
            // The reaper may be done before anybody can follow; then the sandbox is simply gone.
            try? await fixture.waitForEvent(id.rawValue, kind: "expired")
        }
        #expect(node.destroyed.contains(id))
        #expect(try await scratch.openStore().sandboxes().isEmpty)
    }
}
