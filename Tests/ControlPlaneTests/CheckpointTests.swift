import ControlStore
import MartletAPI
import Node
import SandboxModel
import Testing

@testable import ControlPlane

@Suite("Checkpoints, rewind and lineage")
struct CheckpointTests {
    @Test("A recording sandbox has a checkpoint from its start and one after every exec")
    func recording() async throws {
        try await PlaneFixture.with { fixture in
            let snapshots = fixture.plane.snapshots
            let made = try await fixture.create(CreateSandboxRequest(record: true))
            #expect(made.record)
            let first = try await fixture.exec(made.id)
            #expect(first.checkpoint == 1)
            #expect(first.checkpointMilliseconds.map { $0 > 0 } == true)
            // Even a program that fails leaves a state to go back to.
            #expect(try await fixture.exec(made.id, "exit 3").checkpoint == 2)
            let numbers = try await withThrowingTaskGroup(of: Int?.self) { group in
                for _ in 0..<6 { group.addTask { try await fixture.exec(made.id).checkpoint } }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(Set(numbers) == Set(3...8))
            let kept = try snapshots.checkpoints(made.id, caller: .local).items
            #expect(kept.map(\.number) == Array(0...8))
            for (before, after) in zip(kept, kept.dropFirst()) { #expect(after.parent == before.id) }
            #expect(kept.allSatisfy { $0.kind == .checkpoint && $0.sandbox == made.id })
            let plain = try await fixture.create()
            #expect(try await fixture.exec(plain.id).checkpoint == nil)
            #expect(try snapshots.checkpoints(plain.id, caller: .local).items.isEmpty)
            try await fixture.waitForEvent(made.id, kind: "checkpoint", message: "checkpoint 8 taken")
        }
    }

    @Test("A checkpoint that fails leaves the exec alone, and no gap")
    func failing() async throws {
        try await PlaneFixture.with { fixture in
            let made = try await fixture.create(CreateSandboxRequest(record: true))
            fixture.node.fail(.snapshot, MartletError(.resourceExhausted, "snapshot: the disk is full"))
            let result = try await fixture.exec(made.id, "echo fine")
            #expect(result.stdout == "fine\n")
            #expect(result.checkpoint == nil)
            #expect(result.checkpointMilliseconds == nil)
            try await fixture.waitForEvent(made.id, kind: "checkpoint_failed")
            fixture.node.fail(.snapshot, nil)
            #expect(try await fixture.exec(made.id).checkpoint == 1)
        }
    }

    @Test("So many are kept, and so many bytes; the oldest go, the newest stays")
    func bounds() async throws {
        try await PlaneFixture.with(configure: {
            $0.maxCheckpoints = 3
            $0.maxCheckpointBytes = 42_000
        }) { fixture in
            let snapshots = fixture.plane.snapshots
            let made = try await fixture.create(CreateSandboxRequest(record: true))
            func numbers() throws -> [Int?] { try snapshots.checkpoints(made.id, caller: .local).items.map(\.number) }
            for _ in 1...4 { _ = try await fixture.exec(made.id) }
            #expect(try numbers() == [2, 3, 4])
            #expect(fixture.node.snapshotIDs.count == 3)
            fixture.node.setSnapshotBytes(35_000)
            _ = try await fixture.exec(made.id)
            #expect(try numbers() == [4, 5])
            fixture.node.setSnapshotBytes(90_000)
            _ = try await fixture.exec(made.id)
            #expect(try numbers() == [6])
            let left = try snapshots.checkpoints(made.id, caller: .local).items
            #expect(left[0].parent == nil)
            #expect(try await fixture.store.snapshots().count == 1)
        }
    }

    @Test("Rewound, it goes on from there; later checkpoints stay and numbers go on counting")
    func rewind() async throws {
        try await PlaneFixture.with { fixture in
            let snapshots = fixture.plane.snapshots
            let made = try await fixture.create(CreateSandboxRequest(timeoutSeconds: 500, record: true))
            for _ in 1...3 { _ = try await fixture.exec(made.id) }
            let before = try fixture.sandbox(made.id)
            let back = try await snapshots.rewind(made.id, RewindRequest(to: 1), caller: .local)
            #expect(back.state == .running)
            #expect(back.expiresAt == before.expiresAt)
            #expect(try await fixture.exec(made.id).checkpoint == 4)
            let kept = try snapshots.checkpoints(made.id, caller: .local).items
            #expect(kept.map(\.number) == [0, 1, 2, 3, 4])
            #expect(kept[4].parent == kept[1].id)
            try await fixture.waitForEvent(made.id, kind: "rewound", message: "rewound to checkpoint 1")
            let error = await #expect(throws: MartletError.self) {
                try await snapshots.rewind(made.id, RewindRequest(to: 9), caller: .local)
            }
            #expect(error?.code == .notFound)
            #expect(error?.message.contains("there are 0 to 4") == true)
            // From its pause too; then its time counts anew.
            _ = try await fixture.plane.sandboxes.pause(made.id, caller: .local)
            let resumed = try await snapshots.rewind(made.id, RewindRequest(to: 0), caller: .local)
            #expect(resumed.state == .running)
            #expect(resumed.pausedAt == nil)
            fixture.node.fail(.rewind, MartletError(.unavailable, "rewind: no"))
            #expect(
                await code { try await snapshots.rewind(made.id, RewindRequest(to: 1), caller: .local) } == .unavailable
            )
            #expect(try fixture.sandbox(made.id).state == .running)
            #expect(try await fixture.exec(made.id).checkpoint == 5)
            #expect(try snapshots.checkpoints(made.id, caller: .local).items[5].parent == kept[0].id)
        }
    }

    @Test("A fork at a checkpoint keeps it while the fork lives, also when its sandbox is gone")
    func forkAt() async throws {
        try await PlaneFixture.with { fixture in
            let snapshots = fixture.plane.snapshots
            let made = try await fixture.create(CreateSandboxRequest(record: true))
            _ = try await fixture.exec(made.id)
            let fork = try await snapshots.fork(sandbox: made.id, ForkSandboxRequest(at: 1), caller: .local)
            let checkpoint = try snapshots.checkpoints(made.id, caller: .local).items[1]
            #expect(fork.source == .checkpoint)
            #expect(fork.snapshot == checkpoint.id)
            let child = try #require(fork.forks[0].sandbox)
            #expect(child.parent == made.id)
            #expect(child.fromSnapshot == checkpoint.id)
            try await fixture.plane.sandboxes.delete(made.id, caller: .local)
            #expect(fixture.node.snapshotIDs.map(\.rawValue) == [checkpoint.id])
            #expect(try snapshots.get(checkpoint.id, caller: .local).state == .deleting)
            try await fixture.plane.sandboxes.delete(child.id, caller: .local)
            #expect(fixture.node.snapshotIDs.isEmpty)
            #expect(try await fixture.store.snapshots().isEmpty)
        }
    }

    @Test("The tree shows the whole family, and where the sandbox stands")
    func tree() async throws {
        try await PlaneFixture.with { fixture in
            let snapshots = fixture.plane.snapshots
            let root = try await fixture.create(CreateSandboxRequest(name: "root", record: true))
            _ = try await fixture.exec(root.id)
            _ = try await fixture.exec(root.id)
            _ = try await snapshots.rewind(root.id, RewindRequest(to: 1), caller: .local)
            let live = try #require(
                try await snapshots.fork(sandbox: root.id, .init(), caller: .local).forks[0].sandbox)
            let gold = try await snapshots.create(live.id, .init(name: "gold"), idempotencyKey: nil, caller: .local)
            let copy = try await fixture.create(CreateSandboxRequest(fromSnapshot: "gold"))
            let late = try await snapshots.create(copy.id, .init(name: "late"), idempotencyKey: nil, caller: .local)
            _ = try await fixture.create()
            let points = try snapshots.checkpoints(root.id, caller: .local).items.map(\.id)
            let tree = try snapshots.tree("root", caller: .local).nodes
            let parents = Dictionary(uniqueKeysWithValues: tree.map { ($0.id, $0.parent) })
            #expect(
                parents == [
                    root.id: nil, points[0]: root.id, points[1]: points[0], points[2]: points[1], live.id: root.id,
                    gold.id: live.id, copy.id: gold.id, late.id: copy.id,
                ])
            #expect(tree.filter(\.isCurrent).map(\.id) == [points[1]])
            for (place, node) in tree.enumerated() where node.parent != nil {
                #expect(tree[..<place].contains { $0.id == node.parent })
            }
            let own = try snapshots.tree(live.id, caller: .local).nodes
            #expect(own.count == tree.count)
            #expect(own.filter(\.isCurrent).map(\.id) == [gold.id])
            #expect(try snapshots.tree(copy.id, caller: .local).nodes.filter(\.isCurrent).map(\.id) == [late.id])
            // With its middle gone, the family is what still hangs together.
            try await fixture.plane.sandboxes.delete(live.id, caller: .local)
            let rest = try snapshots.tree(copy.id, caller: .local).nodes
            #expect(rest.map(\.id) == [gold.id, copy.id, late.id])
            #expect(rest[0].parent == nil)
        }
    }
}
