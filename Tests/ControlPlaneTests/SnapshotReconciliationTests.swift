import ControlStore
import MartletAPI
import Node
import SandboxModel
import Testing

@testable import ControlPlane

@Suite("A daemon that starts again, with captures")
struct SnapshotReconciliationTests {
    @Test(
        "A sandbox goes on as the node has it, whatever step it was at",
        arguments: [SandboxState.running, .pausing, .paused, .resuming], [SandboxState.running, .paused])
    func states(recorded: SandboxState, actual: SandboxState) async throws {
        let (scratch, node) = (try Scratch(), TestNode())
        var made: SandboxResource?
        try await PlaneFixture.with(node: node, scratch: scratch) { fixture in
            made = try await fixture.create(CreateSandboxRequest(timeoutSeconds: 900))
        }
        let id = try #require(made.flatMap { SandboxID(rawValue: $0.id) })
        do {
            let store = try await scratch.openStore()
            var record = try #require(try await store.sandboxes().first)
            record.state = recorded
            // A deadline that is over must not end what was paused when it passed.
            if recorded == .paused || recorded == .resuming {
                record.pausedAt = Timestamp(milliseconds: 5)
                record.expiresAt = Timestamp(milliseconds: 6)
            }
            try await store.update(record)
        }
        if actual == .paused { node.pauseSilently(id) }
        try await PlaneFixture.with(node: node, scratch: scratch) { fixture in
            let found = try fixture.sandbox(id.rawValue)
            #expect(found.state == actual)
            #expect((found.pausedAt == nil) == (actual == .running))
            #expect((found.expiresAt == nil) == (actual == .paused))
            if actual == .running { #expect(try #require(found.expiresAt) > .now) }
            #expect(try await fixture.store.sandboxes().first?.state == actual)
            if actual == .paused {
                _ = try await fixture.plane.sandboxes.resume(id.rawValue, .init(), caller: .local)
            }
            #expect(try await fixture.exec(id.rawValue).exitCode == 0)
        }
    }

    @Test("Snapshots nobody knows are removed, lost ones forgotten, the others are there")
    func snapshots() async throws {
        let (scratch, node) = (try Scratch(), TestNode())
        var kept = ""
        var lost = ""
        var made = ""
        try await PlaneFixture.with(node: node, scratch: scratch) { fixture in
            made = try await fixture.create().id
            func take(_ name: String) async throws -> String {
                try await fixture.plane.snapshots.create(
                    made, .init(name: name), idempotencyKey: nil, caller: .local
                ).id
            }
            kept = try await take("kept")
            lost = try await take("lost")
        }
        node.lose(try #require(SnapshotID(rawValue: lost)))
        let orphan = SnapshotID.random()
        _ = try await node.snapshot(try #require(SandboxID(rawValue: made)), as: SnapshotSpec(id: orphan))
        try await PlaneFixture.with(node: node, scratch: scratch) { fixture in
            #expect(fixture.node.snapshotIDs.map(\.rawValue) == [kept])
            let all = try fixture.plane.snapshots.list(.init(), caller: .local).items
            #expect(all.map(\.id) == [kept])
            #expect(try await fixture.store.snapshots().map(\.id.rawValue) == [kept])
            // What comes next stands on what is left.
            let next = try await fixture.plane.snapshots.create(made, .init(), idempotencyKey: nil, caller: .local)
            #expect(next.parent == kept)
        }
    }

    @Test("A deleted snapshot goes when its last user is gone, also after a restart; stray checkpoints go at once")
    func deleting() async throws {
        let (scratch, node) = (try Scratch(), TestNode())
        var user = ""
        var gold = ""
        var recorder = ""
        try await PlaneFixture.with(node: node, scratch: scratch) { fixture in
            let made = try await fixture.create()
            gold = try await fixture.plane.snapshots.create(made.id, .init(), idempotencyKey: nil, caller: .local).id
            user = try await fixture.create(CreateSandboxRequest(fromSnapshot: gold)).id
            _ = try await fixture.plane.snapshots.delete(gold, caller: .local)
            recorder = try await fixture.create(CreateSandboxRequest(record: true)).id
            #expect(fixture.node.snapshotIDs.count == 2)
        }
        // As if the daemon had been killed between ending the sandbox and its checkpoints.
        let recorderID = try #require(SandboxID(rawValue: recorder))
        try await scratch.openStore().remove(recorderID)
        try await PlaneFixture.with(node: node, scratch: scratch) { fixture in
            #expect(fixture.node.snapshotIDs.map(\.rawValue) == [gold])
            let waiting = try fixture.plane.snapshots.get(gold, caller: .local)
            #expect(waiting.state == .deleting)
            #expect(waiting.inUseBy == [user])
        }
        let userID = try #require(SandboxID(rawValue: user))
        try await node.destroy(userID)
        try await PlaneFixture.with(node: node, scratch: scratch) { fixture in
            #expect(fixture.node.snapshotIDs.isEmpty)
            let left = try await fixture.store.snapshots()
            #expect(left.isEmpty)
        }
    }
}
