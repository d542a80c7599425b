import ControlStore
import LinuxSystem
import MartletAPI
import Metrics
import Node
import SandboxModel

extension Snapshots {
    /// Makes children of a sandbox that runs or is paused, or of one of its checkpoints.
    ///
    /// - Throws: `invalid_argument`, `not_found` (sandbox, checkpoint), `failed_precondition`, `resource_exhausted` when
    ///   no child has a place, and what keeps the node from making any.
    package func fork(
        sandbox idOrName: String, _ request: ForkSandboxRequest, caller: Caller
    ) async throws -> ForkResult {
        let children = ForkSnapshotRequest(
            count: request.count, timeoutSeconds: request.timeoutSeconds, metadata: request.metadata,
            env: request.env, inheritEnv: request.inheritEnv, network: request.network, secrets: request.secrets)
        let plan = try ForkPlan(
            children, inheritsSecrets: request.inheritSecrets, caller: caller, configuration: configuration)
        let source = try sandboxes.find(idOrName, caller: caller)
        let id = source.id
        if let number = request.at {
            let checkpoint = try checkpoint(number, of: id, doing: "fork sandbox")
            return try await fork(checkpoint.id, of: source, plan, caller: caller)
        }
        return try await sandboxes.turns.take(id) {
            guard let record = sandboxes.index.record(id), record.state == .running || record.state == .paused else {
                throw sandboxes.wrongState("fork sandbox", id)
            }
            let made = try await sandboxes.fork(.sandbox(id), ForkParentage(record), plan, caller: caller)
            return told(made, parent: id, source: record.state == .paused ? .paused : .running, snapshot: nil)
        }
    }

    /// Makes sandboxes that go on from where a snapshot was taken.
    ///
    /// - Throws: as for a sandbox; `failed_precondition` also while the snapshot is being deleted.
    package func fork(
        snapshot idOrName: String, _ request: ForkSnapshotRequest, caller: Caller
    ) async throws -> ForkResult {
        let plan = try ForkPlan(request, caller: caller, configuration: configuration)
        return try await fork(try shelf.find(idOrName, caller: caller).id, of: nil, plan, caller: caller)
    }

    /// - Parameter sandbox: the one whose checkpoint it is, if it was asked for as such.
    private func fork(
        _ id: SnapshotID, of sandbox: SandboxRecord?, _ plan: ForkPlan, caller: Caller
    ) async throws -> ForkResult {
        try await shelf.holding(id) { snapshot in
            let parentage =
                sandbox.map { ForkParentage(snapshot, of: sandboxes.index.record($0.id) ?? $0) }
                ?? ForkParentage(snapshot)
            let made = try await sandboxes.fork(.snapshot(id), parentage, plan, caller: caller)
            return told(
                made, parent: sandboxes.index.record(snapshot.sandbox)?.id,
                source: snapshot.kind == .checkpoint ? .checkpoint : .snapshot, snapshot: snapshot)
        }
    }

    /// What came of a fork, as clients see it; it goes into the parent's history too.
    private func told(
        _ made: ForkedChildren, parent: SandboxID?, source: ForkOrigin, snapshot: SnapshotRecord?
    ) -> ForkResult {
        let ids = made.children.compactMap { try? $0.get().id.rawValue }
        if let parent, !ids.isEmpty {
            let shown = ids.prefix(3).joined(separator: ", ")
            let more = ids.count > 3 ? " and \(ids.count - 3) more" : ""
            let from = snapshot.map { " at \($0.number.map { "checkpoint \($0)" } ?? "snapshot \($0.id)")" } ?? ""
            events.note(
                parent, "forked", "forked\(from) into \(shown)\(more)",
                ["count": "\(ids.count)", "pause_ms": "\(made.report.pauseMilliseconds)"])
        }
        return ForkResult(
            capturedAt: made.report.capturedAt, pauseMilliseconds: made.report.pauseMilliseconds, source: source,
            snapshot: snapshot?.id.rawValue,
            forks: made.children.map { child in
                switch child {
                case .success(let record): .init(sandbox: SandboxResource(listed: record))
                case .failure(let error): .init(error: .init(error))
                }
            })
    }

    // MARK: Checkpoints

    /// Puts a recording sandbox back to one of its checkpoints; later ones stay.
    ///
    /// - Throws: `not_found` (sandbox, checkpoint), `failed_precondition`, and what the node throws; it is as it was
    ///   then.
    package func rewind(_ idOrName: String, _ request: RewindRequest, caller: Caller) async throws -> SandboxResource {
        let id = try sandboxes.find(idOrName, caller: caller).id
        let record = try await sandboxes.turns.take(id) {
            let checkpoint = try checkpoint(request.to, of: id, doing: "rewind sandbox")
            return try await shelf.holding(checkpoint.id) { try await sandboxes.rewind(id, to: $0) }
        }
        return SandboxResource(record)
    }

    /// A checkpoint of a sandbox, by number.
    ///
    /// - Throws: `not_found` naming those there are.
    private func checkpoint(
        _ number: Int, of id: SandboxID, doing: String
    ) throws(MartletError) -> SnapshotRecord {
        let checkpoints = shelf.snapshots.checkpoints(of: id)
        if let found = checkpoints.first(where: { $0.number == number }) { return found }
        let known: String
        if let first = checkpoints.first?.number, let last = checkpoints.last?.number {
            known = first == last ? "there is only \(first)" : "there are \(first) to \(last)"
        } else {
            known = "it has none; only sandboxes made with record: true have them"
        }
        throw MartletError(
            .notFound, "\(doing): \(id): there is no checkpoint \(number): \(known)",
            details: ["sandbox": id.rawValue, "checkpoint": "\(number)"])
    }
}

extension Sandboxes {
    /// Puts a sandbox back to where a checkpoint was taken. To be called in its turn.
    fileprivate func rewind(_ id: SandboxID, to checkpoint: SnapshotRecord) async throws -> SandboxRecord {
        let begun =
            index.step(id, through: .resuming) ?? index.step(id, through: .pausing, .paused, .resuming)
        guard let before = begun?.before else { throw wrongState("rewind sandbox", id) }
        let stopwatch = Stopwatch()
        return try await shielded { [self] in
            let machine: NodeSandbox
            do {
                let network = try await networks.network(of: before)
                if before.state == .running { await traffic.settle(id) }
                machine = try await node.rewind(id, to: checkpoint.id, network: network)
                networks.setProblem(id, nil)
                traffic.restart(id)
            } catch {
                Counter(label: "sandbox_rewind_failures_total", dimensions: [("code", error.metricCode)]).increment()
                await settle(id, after: error, doing: "rewinding it")
                throw error
            }
            let stepped = index.step(id, through: .running) { record in
                // A running sandbox is given no more time by being put back.
                let deadline = before.state == .running ? record.expiresAt : nil
                record.goesOn(as: machine, timeout: nil)
                if let deadline { record.expiresAt = deadline }
                record.currentSnapshot = checkpoint.id
            }
            guard let running = stepped?.after else { throw wrongState("rewind sandbox", id) }
            await save(id)
            deadlinesChanged.offer(())
            Timer(label: "sandbox_rewind_duration_seconds").recordMilliseconds(stopwatch.totalMilliseconds)
            let number = checkpoint.number.map { "\($0)" } ?? ""
            note(id, "rewound", "rewound to checkpoint \(number)", from: before.state, to: .running, ["number": number])
            return running
        }
    }
}
