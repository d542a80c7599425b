import ControlStore
import Crypto
import FoundationEssentials
import LinuxSystem
import Logging
import MartletAPI
import Metrics
import Node
import SandboxModel

extension Sandboxes {
    /// Makes a sandbox. With an idempotency key the same request makes it once, however often it is sent.
    ///
    /// - Parameter dialect: kept beside it for whoever speaks another API, and told by `opened`.
    /// - Throws: `invalid_argument`, `conflict` (name, key), `resource_exhausted`, `unsupported`, and what the node
    ///   throws. Nothing is left of a create that failed.
    package func create(
        _ request: CreateSandboxRequest, idempotencyKey: String?, dialect: String? = nil, caller: Caller
    ) async throws -> SandboxResource {
        var stopwatch = Stopwatch()
        var plan = try CreatePlan(request, caller: caller, configuration: configuration)
        plan.dialect = dialect
        if let template = plan.template, let own = try templates.find(template, caller: caller) {
            plan.template = TemplateReference(name: own.name)
        }
        try await checkIsolation(plan.isolation)
        guard let idempotencyKey else {
            return SandboxResource(try await begin(plan, idempotency: nil, caller: caller, stopwatch: &stopwatch))
        }
        let key = try IdempotencyGate.checked(idempotencyKey)
        let timing = stopwatch
        let outcome = try await gate.once(
            keyID: caller.keyID, key: key, requestHash: try await fingerprint(of: request)
        ) { draft in
            var stopwatch = timing
            return try await begin(plan, idempotency: draft, caller: caller, stopwatch: &stopwatch)
        }
        switch outcome {
        case .now(let record): return SandboxResource(record)
        case .before(let id):
            guard let record = index.find(id) else {
                throw MartletError(
                    .conflict, "create sandbox: this idempotency key made \(id), which is gone; use a new key",
                    details: ["sandbox": id])
            }
            return SandboxResource(record)
        }
    }

    private func begin(
        _ plan: CreatePlan, idempotency: IdempotencyRecord.Draft?, caller: Caller, stopwatch: inout Stopwatch
    ) async throws -> SandboxRecord {
        let made: SandboxRecord
        if let wanted = plan.fromSnapshot {
            let snapshot = try shelf.find(wanted, caller: caller)
            try plan.check(against: snapshot)
            made = try await shelf.holding(snapshot.id) { snapshot in
                try await make(
                    plan, from: snapshot, idempotency: idempotency, caller: caller, stopwatch: &stopwatch)
            }
        } else {
            made = try await make(plan, from: nil, idempotency: idempotency, caller: caller, stopwatch: &stopwatch)
        }
        guard plan.isRecorded else { return made }
        _ = await checkpoint(made.id)
        return index.record(made.id) ?? made
    }

    private func make(
        _ plan: CreatePlan, from snapshot: SnapshotRecord?, idempotency: IdempotencyRecord.Draft?, caller: Caller,
        stopwatch: inout Stopwatch
    ) async throws -> SandboxRecord {
        let reservation = try index.reserve(keyID: caller.keyID, name: plan.name, limit: limit(of: caller))
        let id = SandboxID.random()
        let network: Networks.Prepared
        let machine: NodeSandbox
        do {
            network = try await networks.prepare(plan.network, for: id, policy: snapshot?.network)
            machine = try await build(plan, from: snapshot, id: id, network: network)
        } catch {
            index.release(reservation)
            Counter(label: "sandbox_create_failures_total", dimensions: [("code", error.metricCode)]).increment()
            throw error
        }
        stopwatch.lap("create")
        var record = SandboxRecord(machine, plan: plan, from: snapshot, network: network, keyID: caller.keyID, at: .now)
        do {
            // The one transaction of a create. A crash before it leaves a machine without a record, which the next
            // start destroys.
            let event = try await store.insert(
                record, event: record.createdEvent,
                idempotency: idempotency?.record(id.rawValue, at: record.createdAt))
            stopwatch.lap("record")
            record.report.phases["record"] = stopwatch.phases["record"]
            record.report.totalMilliseconds = stopwatch.totalMilliseconds
            index.commit(record, for: reservation)
            events.publish(event)
        } catch {
            let node = node
            try? await shielded { try await node.destroy(id) }
            index.release(reservation)
            throw error
        }
        deadlinesChanged.offer(())
        measure(record)
        logger.info(
            "sandbox created",
            metadata: [
                "sandbox.id": "\(id)", "sandbox.backend": "\(record.isolation.engine)",
                "mode": "\(record.report.mode.rawValue)", "duration.ms": "\(record.report.totalMilliseconds)",
            ])
        return record
    }

    private func build(
        _ plan: CreatePlan, from snapshot: SnapshotRecord?, id: SandboxID, network: Networks.Prepared
    ) async throws -> NodeSandbox {
        guard let snapshot else { return try await node.create(plan.spec(id: id, network: network)) }
        let outcome = try await node.fork(.snapshot(snapshot.id), into: [plan.forkSpec(id: id, network: network)])
        guard let child = outcome.children.first else {
            throw MartletError(.internal, "create sandbox: \(id): the node told nothing of it")
        }
        return try child.get()
    }

    private func measure(_ record: SandboxRecord) {
        func observe(_ phase: String, _ milliseconds: Double) {
            Timer(
                label: "sandbox_create_duration_seconds",
                dimensions: [("backend", record.isolation.engine), ("phase", phase)]
            ).recordNanoseconds(Int64(milliseconds * 1e6))
        }
        observe("total", record.report.totalMilliseconds)
        for (phase, milliseconds) in record.report.phases { observe(phase, milliseconds) }
    }

    /// An engine that is not there is told before anything is begun.
    private func checkIsolation(_ isolation: IsolationChoice) async throws {
        guard case .engine(let isolation) = isolation else { return }
        let engines = await node.report().engines
        guard let engine = engines.first(where: { $0.name == isolation }) else {
            let known = (["auto"] + engines.map { IsolationChoice.usualName(of: $0.name) }).joined(separator: ", ")
            throw MartletError(
                .unsupported, "create sandbox: isolation: there is no engine '\(isolation)'; known: \(known)",
                details: ["field": "isolation"])
        }
        guard engine.isAvailable else {
            throw MartletError(
                .unsupported, "create sandbox: isolation: engine \(isolation) cannot be used here: \(engine.reason)",
                details: ["field": "isolation"])
        }
    }

    /// What tells this request from others; kept, so that it must tell nothing of a secret's value.
    private func fingerprint(of request: CreateSandboxRequest) async throws -> [UInt8] {
        var request = request
        request.secrets = try await request.secrets?.blinded { try await store.fingerprint(ofSecret: $0) }
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        return Array(SHA256.hash(data: try encoder.encode(request)))
    }
}

extension SandboxRecord {
    fileprivate init(
        _ machine: NodeSandbox, plan: CreatePlan, from snapshot: SnapshotRecord?, network: Networks.Prepared,
        keyID: String?,
        at time: Timestamp
    ) {
        let parentage = snapshot.map(ForkParentage.init)
        self.init(
            id: machine.id, keyID: keyID, name: plan.name, template: machine.template, state: .running,
            isolation: machine.isolation, cpus: machine.shape.cpus, memoryMiB: machine.shape.memoryMiB,
            diskMiB: machine.diskMiB, createdAt: time,
            expiresAt: time.adding(seconds: Int64(plan.timeoutSeconds)), timeoutSeconds: plan.timeoutSeconds,
            metadata: plan.metadata, parent: parentage?.parent?.rawValue, fromSnapshot: snapshot?.id.rawValue,
            report: machine.report, onTimeout: plan.onTimeout, isRecorded: plan.isRecorded,
            currentSnapshot: snapshot?.id, network: network.network.policy, secrets: network.sealed,
            dialect: plan.dialect)
    }

    fileprivate var createdEvent: EventRecord {
        forkedEvent(fromSnapshot.map { "created from snapshot \($0)" } ?? "created from template \(template)")
    }
}

extension Error {
    /// The error's code as a metric label: one of a fixed set.
    var metricCode: String { (self as? MartletError)?.code.rawValue ?? "internal" }
}
