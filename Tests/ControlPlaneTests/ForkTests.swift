import ControlStore
import MartletAPI
import Node
import SandboxModel
import Testing

@testable import ControlPlane

@Suite("Forks")
struct ForkTests {
    @Test("Children of a running and a paused sandbox are sandboxes of their own")
    func children() async throws {
        try await PlaneFixture.with { fixture in
            let snapshots = fixture.plane.snapshots
            let parent = try await fixture.create(
                CreateSandboxRequest(name: "web", metadata: ["a": "1"], onTimeout: .pause, record: true))
            let live = try await snapshots.fork(
                sandbox: "web",
                ForkSandboxRequest(
                    count: 3, timeoutSeconds: 77, metadata: ["b": "2"], env: ["X": "1"], inheritEnv: true),
                caller: .local)
            #expect(live.source == .running)
            #expect(live.snapshot == nil)
            #expect(live.pauseMilliseconds == 3.5)
            let children = live.forks.compactMap(\.sandbox)
            #expect(children.count == 3)
            for child in children {
                #expect(child.parent == parent.id)
                #expect(child.name == nil)
                #expect(child.fromSnapshot == nil)
                #expect(child.metadata == ["b": "2"])
                #expect(child.onTimeout == .kill)
                #expect(!child.record)
                #expect(child.expiresAt == child.createdAt.adding(seconds: 77))
                #expect(try await fixture.exec(child.id, "echo child").stdout == "child\n")
            }
            #expect(fixture.node.forked.map(\.id.rawValue) == children.map(\.id))
            #expect(fixture.node.forked.allSatisfy { $0.environment == ["X=1"] && $0.inheritsEnvironment })
            #expect(Set(fixture.node.forked.map(\.hostname)).count == 3)
            #expect(try await fixture.store.sandboxes().count == 4)
            try await fixture.waitForEvent(parent.id, kind: "forked")
            try await fixture.waitForEvent(children[0].id, kind: "state", message: "forked from \(parent.id)")

            _ = try await fixture.plane.sandboxes.pause("web", caller: .local)
            let still = try await snapshots.fork(sandbox: "web", .init(), caller: .local)
            #expect(still.source == .paused)
            #expect(try fixture.sandbox("web").state == .paused)
            // A child of a child.
            let grandchild = try await snapshots.fork(sandbox: children[0].id, .init(), caller: .local)
            #expect(grandchild.forks[0].sandbox?.parent == children[0].id)
        }
    }

    @Test("Children over the key's limit fail one by one; when none has a place, the request does")
    func limits() async throws {
        try await PlaneFixture.with(configure: { $0.maxSandboxesPerKey = 3 }) { fixture in
            let caller = try await fixture.user()
            let snapshots = fixture.plane.snapshots
            let parent = try await fixture.plane.sandboxes.create(.init(), idempotencyKey: nil, caller: caller)
            let made = try await snapshots.fork(sandbox: parent.id, .init(count: 4), caller: caller)
            #expect(made.forks.map { $0.sandbox != nil } == [true, true, false, false])
            #expect(made.forks[2].error?.code == "resource_exhausted")
            #expect(fixture.node.forked.count == 2)
            #expect(
                await code { try await snapshots.fork(sandbox: parent.id, .init(count: 2), caller: caller) }
                    == .resourceExhausted)
            #expect(fixture.node.count(.fork) == 1)
            let child = try #require(made.forks[0].sandbox?.id)
            try await fixture.plane.sandboxes.delete(child, caller: caller)
            let again = try await snapshots.fork(sandbox: parent.id, .init(), caller: caller)
            #expect(again.forks[0].sandbox != nil)
        }
    }

    @Test("Children that cannot be made are told in their places, and give these back")
    func failingChildren() async throws {
        try await PlaneFixture.with(configure: { $0.maxSandboxesPerKey = 5 }) { fixture in
            let caller = try await fixture.user()
            let snapshots = fixture.plane.snapshots
            let parent = try await fixture.plane.sandboxes.create(.init(), idempotencyKey: nil, caller: caller)
            fixture.node.failChildren([1])
            let some = try await snapshots.fork(sandbox: parent.id, .init(count: 3), caller: caller)
            #expect(some.forks.map { $0.error?.code } == [nil, "unavailable", nil])
            fixture.node.failChildren([0, 1])
            let none = try await snapshots.fork(sandbox: parent.id, .init(count: 2), caller: caller)
            #expect(none.forks.map { $0.error?.code } == ["unavailable", "unavailable"])
            fixture.node.fail(.fork, MartletError(.resourceExhausted, "fork: the disk is full"))
            let error = await #expect(throws: MartletError.self) {
                try await snapshots.fork(sandbox: parent.id, .init(count: 2), caller: caller)
            }
            #expect(error?.message == "fork: the disk is full")
            // Two places are left, and no more.
            fixture.node.fail(.fork, nil)
            fixture.node.failChildren([])
            let rest = try await snapshots.fork(sandbox: parent.id, .init(count: 3), caller: caller)
            #expect(rest.forks.map { $0.sandbox != nil } == [true, true, false])
            #expect(await fixture.node.sandboxes().count == 5)
        }
    }

    @Test("What is out of bounds is refused before anything is captured")
    func bounds() async throws {
        try await PlaneFixture.with { fixture in
            let parent = try await fixture.create()
            let bad: [ForkSandboxRequest] = [
                .init(count: 0), .init(count: 65), .init(count: -1), .init(timeoutSeconds: 0),
                .init(metadata: ["a b": ""]), .init(env: ["1": ""]),
            ]
            for request in bad {
                #expect(
                    await code { try await fixture.plane.snapshots.fork(sandbox: parent.id, request, caller: .local) }
                        == .invalidArgument)
            }
            #expect(
                await code { try await fixture.plane.snapshots.fork(sandbox: parent.id, .init(at: 0), caller: .local) }
                    == .notFound)
            #expect(fixture.node.count(.fork) == 0)
        }
    }

    @Test("A sandbox made from a snapshot has the snapshot's template and sizes, and may not ask for others")
    func fromSnapshot() async throws {
        try await PlaneFixture.with { fixture in
            let source = try await fixture.create(CreateSandboxRequest(cpus: 2, memoryMiB: 512, diskMiB: 4096))
            let gold = try await fixture.plane.snapshots.create(
                source.id, .init(name: "gold"), idempotencyKey: nil, caller: .local)
            let made = try await fixture.create(
                CreateSandboxRequest(
                    name: "copy", env: ["A": "1"], fromSnapshot: "gold", inheritEnv: true, onTimeout: .pause))
            #expect(made.cpus == 2 && made.memoryMiB == 512 && made.diskMiB == 4096)
            #expect(made.template == "base")
            #expect(made.parent == source.id)
            #expect(made.fromSnapshot == gold.id)
            #expect(made.onTimeout == .pause)
            #expect(made.create?.phases["record"] != nil)
            #expect(fixture.node.forked.last?.hostname == "copy")
            #expect(fixture.node.forked.last?.inheritsEnvironment == true)
            _ = try await fixture.create(
                CreateSandboxRequest(template: "base", cpus: 2, memoryMiB: 512, diskMiB: 4096, fromSnapshot: gold.id))
            let bad: [(CreateSandboxRequest, String)] = [
                (.init(template: "other", fromSnapshot: "gold"), "template"),
                (.init(cpus: 1, fromSnapshot: "gold"), "cpus"),
                (.init(memoryMiB: 256, fromSnapshot: "gold"), "memory_mb"),
                (.init(diskMiB: 2048, fromSnapshot: "gold"), "disk_mb"), (.init(inheritEnv: true), "inherit_env"),
            ]
            for (request, field) in bad {
                let error = await #expect(throws: MartletError.self) { try await fixture.create(request) }
                #expect(error?.code == .invalidArgument)
                #expect(error?.details["field"] == field)
            }
            let names = await code { try await fixture.create(.init(name: "copy", fromSnapshot: "gold")) }
            #expect(names == .conflict)
            #expect(fixture.node.count(.fork) == 2)
        }
    }

    @Test("A failed sandbox is not forked")
    func failed() async throws {
        try await PlaneFixture.with { fixture in
            let parent = try await fixture.create()
            fixture.node.crash(try #require(SandboxID(rawValue: parent.id)), reason: "killed")
            try await fixture.waitForEvent(parent.id, kind: "state", message: "killed")
            #expect(
                await code { try await fixture.plane.snapshots.fork(sandbox: parent.id, .init(), caller: .local) }
                    == .failedPrecondition)
            #expect(
                await code {
                    try await fixture.plane.snapshots.create(parent.id, .init(), idempotencyKey: nil, caller: .local)
                } == .failedPrecondition)
        }
    }
}
