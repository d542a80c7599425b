import ControlStore
import MartletAPI
import Node
import SandboxModel
import Testing

@testable import ControlPlane

@Suite("Snapshots")
struct SnapshotTests {
    @Test("Taken of running and paused sandboxes, found by id and name, listed, deleted")
    func life() async throws {
        try await PlaneFixture.with { fixture in
            let snapshots = fixture.plane.snapshots
            let made = try await fixture.create(CreateSandboxRequest(cpus: 2, memoryMiB: 512))
            let first = try await snapshots.create(
                made.id, CreateSnapshotRequest(name: "first", metadata: ["a": "b"]), idempotencyKey: nil, caller: .local
            )
            #expect(first.kind == .snapshot)
            #expect(first.state == .ready)
            #expect(first.parent == nil)
            #expect(first.cpus == 2 && first.memoryMiB == 512)
            #expect(first.pauseMilliseconds == 3.5)
            _ = try await fixture.plane.sandboxes.pause(made.id, caller: .local)
            let second = try await snapshots.create(made.id, .init(), idempotencyKey: nil, caller: .local)
            #expect(second.parent == first.id)
            #expect(try fixture.sandbox(made.id).state == .paused)
            #expect(try snapshots.get("first", caller: .local).id == first.id)
            #expect(try snapshots.get(first.id, caller: .local).metadata == ["a": "b"])
            #expect(try snapshots.list(.init(sandbox: made.id), caller: .local).items.count == 2)
            #expect(try snapshots.list(.init(name: "first"), caller: .local).items.map(\.id) == [first.id])
            #expect(try snapshots.list(.init(kind: .imported), caller: .local).items.isEmpty)
            let page = try snapshots.list(.init(limit: 1), caller: .local)
            let rest = try snapshots.list(.init(limit: 1, cursor: page.nextCursor), caller: .local)
            #expect(Set((page.items + rest.items).map(\.id)) == [first.id, second.id])
            #expect(rest.nextCursor == nil)
            #expect(try await fixture.store.snapshots().count == 2)
            // What came after a snapshot that is deleted comes from what that came from.
            #expect(try await snapshots.delete("first", caller: .local) == nil)
            #expect(try snapshots.get(second.id, caller: .local).parent == nil)
            #expect(await code { try snapshots.get("first", caller: .local) } == .notFound)
            #expect(await code { try await snapshots.delete(first.id, caller: .local) } == .notFound)
            #expect(fixture.node.snapshotIDs.map(\.rawValue) == [second.id])
            try await fixture.waitForEvent(made.id, kind: "snapshot", message: "snapshot first taken")
            // A snapshot outlives its sandbox.
            try await fixture.plane.sandboxes.delete(made.id, caller: .local)
            #expect(try snapshots.get(second.id, caller: .local).sandbox == made.id)
        }
    }

    @Test("Names are unique and no ids; bad ones are refused before anything is captured")
    func names() async throws {
        try await PlaneFixture.with { fixture in
            let snapshots = fixture.plane.snapshots
            let made = try await fixture.create()
            func take(_ name: String) async throws -> SnapshotResource {
                try await snapshots.create(made.id, .init(name: name), idempotencyKey: nil, caller: .local)
            }
            for name in ["", "A", "a/b", "import", SnapshotID.random().rawValue, SandboxID.random().rawValue] {
                #expect(await code { try await take(name) } == .invalidArgument, "\(name)")
            }
            _ = try await take("gold")
            #expect(await code { try await take("gold") } == .conflict)
            #expect(fixture.node.count(.snapshot) == 1)
            #expect(
                await code { try await snapshots.create("nope", .init(), idempotencyKey: nil, caller: .local) }
                    == .notFound)
        }
    }

    @Test("Another key's snapshot does not exist; a key has so many and no more")
    func ownership() async throws {
        try await PlaneFixture.with(configure: { $0.maxSnapshotsPerKey = 2 }) { fixture in
            let (owner, stranger) = (try await fixture.user("owner"), try await fixture.user("stranger"))
            let snapshots = fixture.plane.snapshots
            let made = try await fixture.plane.sandboxes.create(.init(), idempotencyKey: nil, caller: owner)
            func take(_ name: String) async throws -> SnapshotResource {
                try await snapshots.create(made.id, .init(name: name), idempotencyKey: nil, caller: owner)
            }
            let first = try await take("one")
            _ = try await take("two")
            #expect(await code { try await take("three") } == .resourceExhausted)
            #expect(try snapshots.list(.init(), caller: stranger).items.isEmpty)
            #expect(await code { try snapshots.get("one", caller: stranger) } == .notFound)
            #expect(await code { try await snapshots.delete(first.id, caller: stranger) } == .notFound)
            #expect(await code { try await snapshots.fork(snapshot: first.id, .init(), caller: stranger) } == .notFound)
            #expect(await code { try snapshots.tree(made.id, caller: stranger) } == .notFound)
            #expect(
                await code { try await snapshots.export(first.id, caller: stranger) { _ in } } == .notFound)
            #expect(
                await code {
                    try await fixture.plane.sandboxes.create(
                        .init(fromSnapshot: "one"), idempotencyKey: nil, caller: stranger)
                } == .notFound)
            #expect(try snapshots.get("one", caller: .local).id == first.id)
            _ = try await snapshots.delete("one", caller: owner)
            _ = try await take("three")
        }
    }

    @Test("With an idempotency key the same request captures once")
    func idempotency() async throws {
        try await PlaneFixture.with { fixture in
            let snapshots = fixture.plane.snapshots
            let made = try await fixture.create()
            func take(_ name: String) async throws -> SnapshotResource {
                try await snapshots.create(made.id, .init(name: name), idempotencyKey: "once", caller: .local)
            }
            let first = try await take("gold")
            #expect(try await take("gold").id == first.id)
            #expect(await code { try await take("silver") } == .conflict)
            #expect(fixture.node.count(.snapshot) == 1)
            _ = try await snapshots.delete("gold", caller: .local)
            #expect(await code { try await take("gold") } == .conflict)
        }
    }

    @Test("One in use is kept until its last user is gone, takes no new ones, and frees its name")
    func inUse() async throws {
        try await PlaneFixture.with { fixture in
            let snapshots = fixture.plane.snapshots
            let made = try await fixture.create()
            let gold = try await snapshots.create(made.id, .init(name: "gold"), idempotencyKey: nil, caller: .local)
            let user = try await fixture.create(CreateSandboxRequest(fromSnapshot: "gold"))
            let other = try await snapshots.fork(snapshot: "gold", .init(), caller: .local).forks[0]
            let otherID = try #require(other.sandbox?.id)
            #expect(try snapshots.get("gold", caller: .local).inUseBy == [user.id, otherID].sorted())
            let kept = try #require(try await snapshots.delete("gold", caller: .local))
            #expect(kept.state == .deleting)
            #expect(kept.inUseBy == [user.id, otherID].sorted())
            #expect(await code { try snapshots.get("gold", caller: .local) } == .notFound)
            #expect(try snapshots.list(.init(), caller: .local).items.isEmpty)
            #expect(try snapshots.list(.init(state: .deleting), caller: .local).items.map(\.id) == [gold.id])
            #expect(
                await code { try await snapshots.fork(snapshot: gold.id, .init(), caller: .local) }
                    == .failedPrecondition)
            #expect(
                await code { try await fixture.create(CreateSandboxRequest(fromSnapshot: gold.id)) }
                    == .failedPrecondition)
            _ = try await snapshots.create(made.id, .init(name: "gold"), idempotencyKey: nil, caller: .local)
            try await fixture.plane.sandboxes.delete(user.id, caller: .local)
            #expect(fixture.node.snapshotIDs.contains { $0.rawValue == gold.id })
            // A paused user is a user.
            _ = try await fixture.plane.sandboxes.pause(otherID, caller: .local)
            #expect(fixture.node.snapshotIDs.contains { $0.rawValue == gold.id })
            try await fixture.plane.sandboxes.delete(otherID, caller: .local)
            #expect(!fixture.node.snapshotIDs.contains { $0.rawValue == gold.id })
            #expect(await code { try snapshots.get(gold.id, caller: .local) } == .notFound)
            #expect(try await fixture.store.snapshots().count == 1)
        }
    }

    @Test("A fork under way keeps its snapshot; one that fails lets it go")
    func pinned() async throws {
        try await PlaneFixture.with { fixture in
            let snapshots = fixture.plane.snapshots
            let made = try await fixture.create()
            let gold = try await snapshots.create(made.id, .init(), idempotencyKey: nil, caller: .local)
            let (begun, gate) = (Latch(), Latch())
            fixture.node.hold(.fork) {
                begun.open()
                try? await gate.wait()
            }
            fixture.node.fail(.fork, MartletError(.unavailable, "fork: no"))
            async let forked = code { try await snapshots.fork(snapshot: gold.id, .init(), caller: .local) }
            try await begun.wait()
            let kept = try await snapshots.delete(gold.id, caller: .local)
            #expect(kept?.state == .deleting)
            #expect(fixture.node.snapshotIDs.count == 1)
            gate.open()
            #expect(await forked == .unavailable)
            #expect(fixture.node.snapshotIDs.isEmpty)
            #expect(try await fixture.store.snapshots().isEmpty)
        }
    }

    @Test("One that cannot be removed stays, and goes when it is deleted again")
    func failedRemoval() async throws {
        try await PlaneFixture.with { fixture in
            let snapshots = fixture.plane.snapshots
            let made = try await fixture.create()
            let gold = try await snapshots.create(made.id, .init(), idempotencyKey: nil, caller: .local)
            fixture.node.fail(.removeSnapshot, MartletError(.internal, "remove: no"))
            #expect(await code { try await snapshots.delete(gold.id, caller: .local) } == .internal)
            #expect(try snapshots.get(gold.id, caller: .local).state == .deleting)
            fixture.node.fail(.removeSnapshot, nil)
            #expect(try await snapshots.delete(gold.id, caller: .local) == nil)
            #expect(fixture.node.snapshotIDs.isEmpty)
        }
    }

    @Test("What was exported comes back whole under another id, and what is no export leaves nothing")
    func transfer() async throws {
        try await PlaneFixture.with { fixture in
            let snapshots = fixture.plane.snapshots
            let made = try await fixture.create()
            let gold = try await snapshots.create(made.id, .init(name: "gold"), idempotencyKey: nil, caller: .local)
            let pieces = BoundedChannel<[UInt8]>(capacity: 1000)
            try await snapshots.export("gold", caller: .local) { try await pieces.send($0) }
            pieces.finish()
            let whole = try #require(try await pieces.nextBatch()).flatMap(\.self)
            func take(_ bytes: [UInt8], as name: String) async throws -> SnapshotResource {
                let source = BoundedChannel<[UInt8]>(capacity: 1)
                source.offer(bytes)
                source.finish()
                return try await snapshots.importSnapshot(name: name, caller: .local) {
                    try await source.nextBatch()?.flatMap(\.self)
                }
            }
            #expect(await code { try await take(whole, as: "gold") } == .conflict)
            #expect(await code { try await take(whole.dropLast(), as: "silver") } == .invalidArgument)
            #expect(fixture.node.snapshotIDs.count == 1)
            let taken = try await take(whole, as: "silver")
            #expect(taken.kind == .imported)
            #expect(taken.id != gold.id)
            let child = try await fixture.create(CreateSandboxRequest(fromSnapshot: "silver"))
            #expect(child.parent == nil)
            #expect(child.fromSnapshot == taken.id)
        }
    }

    @Test("Only an administrator imports, and of another's stream not a byte is read")
    func importNeedsAdministrator() async throws {
        try await PlaneFixture.with { fixture in
            let snapshots = fixture.plane.snapshots
            let user = try await fixture.user()
            let failure = await code {
                try await snapshots.importSnapshot(name: "gold", caller: user) {
                    Issue.record("the stream was read")
                    return nil
                }
            }
            #expect(failure == .permissionDenied)
            #expect(fixture.node.snapshotIDs.isEmpty)
            // Nor is the name taken by what was refused.
            let made = try await fixture.create()
            #expect(
                try await snapshots.create(made.id, .init(name: "gold"), idempotencyKey: nil, caller: .local).name
                    == "gold")
        }
    }
}
