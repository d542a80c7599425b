import ControlStore
import MartletAPI
import Node
import SandboxModel
import Testing

@testable import ControlPlane

@Suite("What sandboxes may reach")
struct NetworkTests {
    private let listed = NetworkPolicy(
        mode: .allowlist, allow: ["pypi.org", "203.0.113.0/24:5432"].compactMap { NetworkRule($0) }, rateMbps: 7)
    private let open = NetworkPolicy(mode: .public, deny: ["*.example.org"].compactMap { NetworkRule($0) })

    private func id(_ sandbox: SandboxResource?) throws -> SandboxID {
        try #require(sandbox.flatMap { SandboxID(rawValue: $0.id) })
    }

    @Test("It is what was asked for, else the host's default; nothing, unless the operator says otherwise")
    func created() async throws {
        try await PlaneFixture.with { fixture in
            let plain = try await fixture.create()
            #expect(plain.network == .closed && plain.secrets == [])
            #expect(fixture.node.network(of: try id(plain)) == .closed)
            let asked = try await fixture.create(CreateSandboxRequest(network: listed))
            #expect(asked.network == listed)
            #expect(fixture.node.network(of: try id(asked)) == SandboxNetwork(policy: listed))
            #expect(try fixture.sandbox(asked.id).network == listed)
            #expect(try await fixture.plane.sandboxes.network(asked.id, caller: .local).policy == listed)
            // Policies may be long: lists leave them out.
            let list = try fixture.plane.sandboxes.list(SandboxFilter(), caller: .local).items
            #expect(list.count == 2 && list.allSatisfy { $0.network == nil && $0.secrets == nil })
        }
        try await PlaneFixture.with(configure: { $0.defaultNetwork = NetworkPolicy(mode: .public) }) { fixture in
            let plain = try await fixture.create()
            #expect(plain.network?.mode == .public)
            let closed = try await fixture.create(CreateSandboxRequest(network: .closed))
            #expect(closed.network == .closed)
        }
    }

    @Test("It is kept over pauses, rewinds, forks and a restart of the daemon")
    func kept() async throws {
        let (scratch, node) = (try Scratch(), TestNode())
        var running: SandboxID?
        var paused: SandboxID?
        try await PlaneFixture.with(node: node, scratch: scratch) { fixture in
            let (sandboxes, snapshots) = (fixture.plane.sandboxes, fixture.plane.snapshots)
            let made = try await fixture.create(CreateSandboxRequest(name: "web", record: true, network: listed))
            let id = try id(made)
            _ = try await sandboxes.pause("web", caller: .local)
            #expect(try await sandboxes.resume("web", .init(), caller: .local).network == listed)
            #expect(node.network(of: id) == SandboxNetwork(policy: listed))
            let live = try await snapshots.fork(sandbox: "web", .init(count: 2), caller: .local)
            for child in live.forks {
                #expect(child.sandbox?.network == nil)
                #expect(node.network(of: try self.id(child.sandbox)) == SandboxNetwork(policy: listed))
            }
            // Put back in time, it may reach what it may now, and so may what is forked from back then.
            _ = try await sandboxes.setNetwork("web", open, caller: .local)
            #expect(try await snapshots.rewind("web", RewindRequest(to: 0), caller: .local).network == open)
            #expect(node.network(of: id)?.policy == open)
            let old = try await snapshots.fork(sandbox: "web", .init(at: 0), caller: .local)
            #expect(node.network(of: try self.id(old.forks[0].sandbox))?.policy == open)
            let other = try await snapshots.fork(sandbox: "web", .init(network: listed), caller: .local)
            #expect(node.network(of: try self.id(other.forks[0].sandbox))?.policy == listed)
            running = id
            paused = try self.id(live.forks[0].sandbox)
            _ = try await sandboxes.pause(try #require(paused?.rawValue), caller: .local)
        }
        let (live, asleep) = (try #require(running), try #require(paused))
        node.forgetNetworks()
        try await PlaneFixture.with(node: node, scratch: scratch) { fixture in
            #expect(node.network(of: live)?.policy == open)
            #expect(try fixture.sandbox("web").network == open)
            // Given when it goes on, and not before.
            #expect(node.networks(of: asleep).isEmpty)
            _ = try await fixture.plane.sandboxes.resume(asleep.rawValue, .init(), caller: .local)
            #expect(node.network(of: asleep)?.policy == listed)
        }
    }

    @Test("A snapshot tells what its sandbox might reach; what is made from it may, unless the request says otherwise")
    func snapshots() async throws {
        try await PlaneFixture.with { fixture in
            let snapshots = fixture.plane.snapshots
            let made = try await fixture.create(CreateSandboxRequest(network: listed))
            let gold = try await snapshots.create(
                made.id, CreateSnapshotRequest(name: "gold"), idempotencyKey: nil, caller: .local)
            #expect(gold.network == listed)
            #expect(try snapshots.list(SnapshotFilter(), caller: .local).items.map(\.network) == [nil])
            let restored = try await fixture.create(CreateSandboxRequest(fromSnapshot: "gold"))
            #expect(restored.network == listed)
            let closed = try await fixture.create(CreateSandboxRequest(fromSnapshot: "gold", network: .closed))
            #expect(fixture.node.network(of: try id(closed)) == .closed)
            let fork = try await snapshots.fork(snapshot: "gold", .init(network: open), caller: .local)
            #expect(fixture.node.network(of: try id(fork.forks[0].sandbox))?.policy == open)
        }
    }

    @Test("An imported snapshot brings no policy: the host's default holds")
    func imported() async throws {
        try await PlaneFixture.with { fixture in
            let made = try await fixture.create(CreateSandboxRequest(network: open))
            _ = try await fixture.plane.snapshots.create(
                made.id, CreateSnapshotRequest(name: "gold"), idempotencyKey: nil, caller: .local)
            let pieces = BoundedChannel<[UInt8]>(capacity: 64)
            try await fixture.plane.snapshots.export("gold", caller: .local) { try await pieces.send($0) }
            pieces.finish()
            var bytes: [UInt8] = []
            while let batch = try await pieces.nextBatch() { bytes += batch.flatMap(\.self) }
            let stream = BoundedChannel<[UInt8]>(capacity: 1)
            stream.offer(bytes)
            stream.finish()
            let taken = try await fixture.plane.snapshots.importSnapshot(name: "silver", caller: .local) {
                try await stream.nextBatch()?.first
            }
            #expect(taken.network == nil)
            #expect(try await fixture.create(CreateSandboxRequest(fromSnapshot: "silver")).network == .closed)
        }
    }

    @Test("A new policy is on record before it is in force, and neither if the node refuses it")
    func replaced() async throws {
        try await PlaneFixture.with { fixture in
            let (sandboxes, node, store) = (fixture.plane.sandboxes, fixture.node, fixture.store)
            let made = try await fixture.create(CreateSandboxRequest(network: listed))
            let id = try id(made)
            let open = open
            node.hold(.setNetwork) {
                #expect(node.network(of: id)?.policy.mode == .allowlist)
                #expect((try? await store.sandboxes())?.first?.network == open)
            }
            #expect(try await sandboxes.setNetwork(made.id, open, caller: .local).network == open)
            #expect(node.network(of: id) == SandboxNetwork(policy: open))
            try await fixture.waitForEvent(made.id, kind: "network", message: "network policy set: public")

            node.hold(.setNetwork, nil)
            node.fail(.setNetwork, MartletError(.unavailable, "set network: the rules were not taken"))
            #expect(await code { try await sandboxes.setNetwork(made.id, .closed, caller: .local) } == .unavailable)
            #expect(try fixture.sandbox(made.id).network == open)
            #expect(try await store.sandboxes().first?.network == open)
            #expect(node.network(of: id)?.policy == open)
            node.fail(.setNetwork, nil)

            _ = try await sandboxes.pause(made.id, caller: .local)
            let calls = node.count(.setNetwork)
            #expect(try await sandboxes.setNetwork(made.id, listed, caller: .local).state == .paused)
            #expect(node.count(.setNetwork) == calls)
            _ = try await sandboxes.resume(made.id, .init(), caller: .local)
            #expect(node.network(of: id)?.policy == listed)
        }
    }

    @Test("It waits for the step the sandbox is at, and is refused once it has failed")
    func inTurn() async throws {
        try await PlaneFixture.with { fixture in
            let (sandboxes, node) = (fixture.plane.sandboxes, fixture.node)
            let made = try await fixture.create()
            let (gate, began) = (Latch(), Latch())
            node.hold(.pause) {
                began.open()
                try? await gate.wait()
            }
            let open = open
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { _ = try await sandboxes.pause(made.id, caller: .local) }
                try await began.wait()
                group.addTask {
                    let changed = try await sandboxes.setNetwork(made.id, open, caller: .local)
                    #expect(changed.state == .paused)
                }
                gate.open()
                try await group.waitForAll()
            }
            let doomed = try await fixture.create()
            node.crash(try id(doomed), reason: "killed")
            try await fixture.waitForEvent(doomed.id, kind: "state", message: "killed")
            #expect(
                await code { try await sandboxes.setNetwork(doomed.id, open, caller: .local) } == .failedPrecondition)
        }
    }

    @Test("Another key's network is not there, and a policy that cannot be is refused, naming the field")
    func refused() async throws {
        try await PlaneFixture.with { fixture in
            let sandboxes = fixture.plane.sandboxes
            let made = try await fixture.create(CreateSandboxRequest(network: listed))
            let stranger = try await fixture.user()
            #expect(await code { try await sandboxes.network(made.id, caller: stranger) } == .notFound)
            #expect(await code { try await sandboxes.setNetwork(made.id, open, caller: stranger) } == .notFound)
            for (policy, field) in [
                (NetworkPolicy(mode: .public, allow: listed.allow), "allow"),
                (NetworkPolicy(mode: .none, deny: open.deny), "deny"),
                (NetworkPolicy(mode: .public, rateMbps: 0), "rate_mbps"),
                (NetworkPolicy(mode: .public, maxConnections: 70_000), "max_connections"),
                (NetworkPolicy(mode: .public, dns: .init(servers: [])), "dns"),
                (NetworkPolicy(mode: .allowlist, allow: Array(repeating: listed.allow[0], count: 4097)), "allow"),
            ] {
                let error = await #expect(throws: MartletError.self) {
                    try await sandboxes.setNetwork(made.id, policy, caller: .local)
                }
                #expect(error?.details["field"] == field)
                let other = await #expect(throws: MartletError.self) {
                    try await fixture.create(CreateSandboxRequest(network: policy))
                }
                #expect(other?.details["field"] == "network.\(field)")
            }
            #expect(fixture.node.networks(of: try id(made)).count == 1)
        }
    }

    @Test("What went through is told while it runs, with the address it has on the host")
    func traffic() async throws {
        try await PlaneFixture.with { fixture in
            let made = try await fixture.create(CreateSandboxRequest(network: open))
            let id = try id(made)
            let counters = NetworkCounters(
                sentBytes: 1, receivedBytes: 2, sentPackets: 3, receivedPackets: 4, denied: 5)
            fixture.node.setCounters(of: id, counters)
            fixture.node.setAddress(of: id, IPv4Address(10, 201, 0, 2))
            let told = try await fixture.plane.sandboxes.network(made.id, caller: .local)
            #expect(told.counters == counters && told.address == IPv4Address(10, 201, 0, 2))
            #expect(try await fixture.plane.sandboxes.metrics(made.id, caller: .local).network == counters)
            _ = try await fixture.plane.sandboxes.pause(made.id, caller: .local)
            let asleep = try await fixture.plane.sandboxes.network(made.id, caller: .local)
            #expect(asleep.counters == nil && asleep.address == nil && asleep.policy == open)
        }
    }
}
