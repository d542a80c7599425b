import ControlStore
import LinuxSystem
import Logging
import MartletAPI
import Metrics
import Node
import SandboxModel

/// What is wanted of the children of a fork: checked, everything within its bounds.
struct ForkPlan: Sendable {
    static let maxChildren = 64

    var count: Int
    var timeoutSeconds: Int
    var metadata: [String: String]
    var environment: [String]
    var inheritsEnvironment: Bool
    var network: NetworkPlan

    /// - Throws: `invalid_argument` naming the field; `permission_denied` for secrets of the daemon's.
    init(
        _ request: ForkSnapshotRequest, inheritsSecrets: Bool? = nil, caller: Caller,
        configuration: ControlPlaneConfiguration
    ) throws(MartletError) {
        count = request.count ?? 1
        guard (1...ForkPlan.maxChildren).contains(count) else {
            throw .invalid("count", "\(count) is outside 1...\(ForkPlan.maxChildren)")
        }
        timeoutSeconds = try CreatePlan.timeout(
            request.timeoutSeconds ?? configuration.defaultTimeoutSeconds, configuration: configuration)
        metadata = try MetadataCheck.checked(request.metadata ?? [:])
        environment = try EnvironmentCheck.pairs(request.env ?? [:], field: "env")
        inheritsEnvironment = request.inheritEnv ?? false
        network = try NetworkPlan(
            policy: request.network, secrets: request.secrets, inheritsSecrets: inheritsSecrets, env: request.env,
            caller: caller, configuration: configuration)
    }
}

/// What the children of a fork come from, for their records.
struct ForkParentage: Sendable {
    var parent: SandboxID?
    var snapshot: SnapshotID?
    /// What they may reach unless told otherwise; nil when that is not known.
    var network: NetworkPolicy?
    /// What they may inherit secrets from.
    var secretive: SandboxRecord?

    /// A child of a running or paused sandbox.
    init(_ sandbox: SandboxRecord) {
        parent = sandbox.id
        network = sandbox.network
        secretive = sandbox
    }

    /// A child made from a snapshot. The sandbox of an imported one is on another machine.
    init(_ snapshot: SnapshotRecord) {
        parent = snapshot.kind == .imported ? nil : snapshot.sandbox
        self.snapshot = snapshot.id
        network = snapshot.network
    }

    /// A child that goes on from a checkpoint of a sandbox: as if that had been put back, with the network it has now.
    init(_ checkpoint: SnapshotRecord, of sandbox: SandboxRecord) {
        self.init(sandbox)
        snapshot = checkpoint.id
    }

    /// How a child's history begins.
    var message: String {
        if let snapshot { return "forked from snapshot \(snapshot)" }
        return "forked from \(parent?.rawValue ?? "nothing")"
    }
}

/// What came of a fork.
struct ForkedChildren: Sendable {
    var report: CaptureReport
    /// In the order they were asked for.
    var children: [Result<SandboxRecord, MartletError>]
}

extension Sandboxes {
    /// Makes the children of a fork, each in a place of its own; those without a place, or that fail, leave the others
    /// alone.
    ///
    /// - Throws: `resource_exhausted` when no child has a place; what keeps the node from making any.
    func fork(
        _ source: ForkSource, _ parentage: ForkParentage, _ plan: ForkPlan, caller: Caller
    ) async throws -> ForkedChildren {
        let places = (0..<plan.count).map { _ in
            Result { () throws(MartletError) in
                try index.reserve(keyID: caller.keyID, name: nil, limit: limit(of: caller))
            }
        }
        let reservations = places.compactMap { try? $0.get() }
        if reservations.isEmpty, let first = places.first { _ = try first.get() }
        return try await shielded { [self] in
            let stopwatch = Stopwatch()
            let wanted: [Wanted]
            let outcome: ForkOutcome
            do {
                wanted = try await prepare(reservations, parentage, plan)
                outcome = try await node.fork(source, into: wanted.map { $0.spec(plan) })
            } catch {
                reservations.forEach(index.release)
                count(failed: reservations.count)
                throw error
            }
            let made = await settle(outcome, wanted, parentage, plan, caller)
            Timer(label: "sandbox_fork_duration_seconds").recordMilliseconds(stopwatch.totalMilliseconds)
            deadlinesChanged.offer(())
            return ForkedChildren(report: outcome.report, children: Sandboxes.inPlace(made, places))
        }
    }

    /// A child that has a place, before it is made.
    private struct Wanted: Sendable {
        var id: SandboxID
        var reservation: Reservation
        var network: Networks.Prepared

        func spec(_ plan: ForkPlan) -> ForkSpec {
            ForkSpec(
                id: id, hostname: id.rawValue, environment: plan.environment,
                inheritsEnvironment: plan.inheritsEnvironment, network: network.network)
        }
    }

    private func prepare(
        _ reservations: [Reservation], _ parentage: ForkParentage, _ plan: ForkPlan
    ) async throws -> [Wanted] {
        var inherited: SandboxSecrets?
        if plan.network.inheritsSecrets, let source = parentage.secretive {
            inherited = try await networks.secrets(of: source)
        }
        var wanted: [Wanted] = []
        for reservation in reservations {
            let id = SandboxID.random()
            let network = try await networks.prepare(
                plan.network, for: id, policy: parentage.network, inherited: inherited)
            wanted.append(Wanted(id: id, reservation: reservation, network: network))
        }
        return wanted
    }

    /// Puts the children that were made on record, all in one transaction, and gives the places of the others back.
    private func settle(
        _ outcome: ForkOutcome, _ wanted: [Wanted], _ parentage: ForkParentage, _ plan: ForkPlan, _ caller: Caller
    ) async -> [Result<SandboxRecord, MartletError>] {
        var made: [Result<SandboxRecord, MartletError>] = wanted.indices.map { place in
            guard outcome.children.indices.contains(place) else {
                return .failure(MartletError(.internal, "fork: \(wanted[place].id): the node told nothing of it"))
            }
            return outcome.children[place].map {
                SandboxRecord(
                    $0, plan: plan, parentage, network: wanted[place].network, keyID: caller.keyID, at: .now)
            }
        }
        let records = made.compactMap { try? $0.get() }
        do {
            let stored = try await store.insert(records.map { ($0, $0.forkedEvent(parentage.message)) })
            for event in stored { events.publish(event) }
        } catch {
            for record in records { try? await node.destroy(record.id) }
            let failure = error as? MartletError ?? MartletError(.internal, "fork: recording the children failed")
            made = made.map { child in child.flatMap { _ in .failure(failure) } }
        }
        for (child, wanted) in zip(made, wanted) {
            switch child {
            case .success(let record): index.commit(record, for: wanted.reservation)
            case .failure: index.release(wanted.reservation)
            }
        }
        count(failed: made.count { (try? $0.get()) == nil }, made: made.count { (try? $0.get()) != nil })
        return made
    }

    /// The outcomes in the order of asking, with those that never had a place.
    private static func inPlace(
        _ made: [Result<SandboxRecord, MartletError>], _ places: [Result<Reservation, MartletError>]
    ) -> [Result<SandboxRecord, MartletError>] {
        var rest = made[...]
        return places.map { place in
            place.flatMap { _ in rest.popFirst() ?? .failure(MartletError(.internal, "fork: a child was lost")) }
        }
    }

    private func count(failed: Int, made: Int = 0) {
        Counter(label: "sandbox_forks_total", dimensions: [("outcome", "failed")]).increment(by: failed)
        Counter(label: "sandbox_forks_total", dimensions: [("outcome", "succeeded")]).increment(by: made)
    }

    /// How many sandboxes a caller may have; nil for as many as the host takes.
    func limit(of caller: Caller) -> Int? {
        caller.keyID == nil ? nil : caller.maxSandboxes ?? configuration.maxSandboxesPerKey
    }
}

extension SandboxRecord {
    fileprivate init(
        _ machine: NodeSandbox, plan: ForkPlan, _ parentage: ForkParentage, network: Networks.Prepared,
        keyID: String?, at time: Timestamp
    ) {
        self.init(
            id: machine.id, keyID: keyID, name: nil, template: machine.template, state: .running,
            isolation: machine.isolation, cpus: machine.shape.cpus, memoryMiB: machine.shape.memoryMiB,
            diskMiB: machine.diskMiB, createdAt: time,
            expiresAt: time.adding(seconds: Int64(plan.timeoutSeconds)), timeoutSeconds: plan.timeoutSeconds,
            metadata: plan.metadata, parent: parentage.parent?.rawValue, fromSnapshot: parentage.snapshot?.rawValue,
            report: machine.report, currentSnapshot: parentage.snapshot, network: network.network.policy,
            secrets: network.sealed, dialect: parentage.secretive?.dialect)
    }

    /// How its history begins.
    func forkedEvent(_ message: String) -> EventRecord {
        EventRecord(
            sandboxID: id, time: createdAt, kind: "state", message: message,
            details: ["from": SandboxState.creating.rawValue, "to": state.rawValue, "mode": report.mode.rawValue])
    }
}
