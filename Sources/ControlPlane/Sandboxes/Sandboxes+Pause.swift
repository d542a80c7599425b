import ControlStore
import LinuxSystem
import Logging
import MartletAPI
import Metrics
import Node
import SandboxModel

/// Why a sandbox is paused or goes on.
enum PauseCause: Sendable {
    case request
    /// Its time is over.
    case timeout
    /// A request needed its guest.
    case demand
}

extension Sandboxes {
    /// Captures a sandbox and ends its machine; it is kept until it is resumed or deleted.
    ///
    /// - Throws: `not_found`, `failed_precondition` when it does not run, and what the node throws; it goes on then.
    package func pause(_ idOrName: String, caller: Caller) async throws -> SandboxResource {
        let id = try find(idOrName, caller: caller).id
        return SandboxResource(try await turns.take(id) { try await pauseNow(id, cause: .request) })
    }

    /// Lets a paused sandbox go on; from its disk, boots a paused or running one afresh.
    ///
    /// - Throws: `not_found`, `failed_precondition` when it runs (from memory) or failed, and what the node throws.
    package func resume(
        _ idOrName: String, _ request: ResumeSandboxRequest, caller: Caller
    ) async throws -> SandboxResource {
        let id = try find(idOrName, caller: caller).id
        let timeout = try request.timeoutSeconds.map { value throws(MartletError) in
            try CreatePlan.timeout(value, configuration: configuration)
        }
        let source: ResumeSource = request.from == .disk ? .disk : .memory
        let record = try await turns.take(id) {
            try await resumeNow(id, from: source, timeout: timeout, cause: .request)
        }
        return SandboxResource(record)
    }

    /// Lets a sandbox that paused itself go on, once for all who wait for it.
    func wake(_ id: SandboxID) async throws {
        try await waking.run(id) { [self] in
            try await turns.take(id) {
                guard index.record(id)?.state == .paused else { return }
                _ = try await resumeNow(id, from: .memory, timeout: nil, cause: .demand)
            }
        }
    }

    /// Pauses a sandbox whose time is over. If that fails it runs on, and is tried again a while later.
    func pauseExpired(_ id: SandboxID) async {
        do {
            try await turns.take(id) {
                // It may have been given more time, or have been paused, while it waited for its turn.
                guard let record = index.record(id), record.state == .running, record.expiresAt <= .now else { return }
                _ = try await pauseNow(id, cause: .timeout)
            }
        } catch is CancellationError {
            return
        } catch {
            let retry = Timestamp.now.adding(seconds: Int64(configuration.pauseRetrySeconds))
            _ = index.change(id) { if $0.state == .running { $0.expiresAt = retry } }
            await save(id)
            events.note(
                id, "pause_failed", "it could not be paused at its time-out and runs on: \(error)".printable(300),
                ["retry_at": retry.description])
            logger.error(
                "pausing a sandbox at its time-out failed",
                metadata: ["sandbox.id": "\(id)", "error": "\(error)", "retry": "\(retry)"])
        }
    }

    // MARK: The steps, to be taken in turn

    private func pauseNow(_ id: SandboxID, cause: PauseCause) async throws -> SandboxRecord {
        guard index.step(id, through: .pausing) != nil else { throw wrongState("pause sandbox", id) }
        let stopwatch = Stopwatch()
        return try await shielded { [self] in
            let report: CaptureReport
            await traffic.settle(id)
            do {
                report = try await node.pause(id)
            } catch {
                Counter(label: "sandbox_pause_failures_total", dimensions: [("code", error.metricCode)]).increment()
                await settle(id, after: error, doing: "pausing it")
                throw error
            }
            traffic.restart(id)
            let stepped = index.step(id, through: .paused) { record in
                record.pausedAt = report.capturedAt
                record.capture = report
            }
            guard let paused = stepped?.after else { throw wrongState("pause sandbox", id) }
            await save(id)
            Timer(label: "sandbox_pause_duration_seconds").recordMilliseconds(stopwatch.totalMilliseconds)
            Timer(label: "sandbox_pause_held_seconds").recordMilliseconds(report.pauseMilliseconds)
            let isExpired = cause == .timeout
            note(
                id, isExpired ? "auto_paused" : "paused",
                isExpired ? "paused: its time-out was reached" : "paused on request",
                from: .running, to: .paused, ["pause_ms": "\(report.pauseMilliseconds)"])
            return paused
        }
    }

    private func resumeNow(
        _ id: SandboxID, from source: ResumeSource, timeout: Int?, cause: PauseCause
    ) async throws -> SandboxRecord {
        let before = try beginResuming(id, from: source)
        let stopwatch = Stopwatch()
        return try await shielded { [self] in
            let machine: NodeSandbox
            do {
                let network = try await networks.network(of: before)
                if before.state == .running { await traffic.settle(id) }
                machine = try await node.resume(id, from: source, network: network)
                networks.setProblem(id, nil)
                traffic.restart(id)
            } catch {
                Counter(label: "sandbox_resume_failures_total", dimensions: [("code", error.metricCode)]).increment()
                await settle(id, after: error, doing: "resuming it")
                throw error
            }
            let stepped = index.step(id, through: .running) { record in
                record.goesOn(as: machine, timeout: timeout)
            }
            guard let running = stepped?.after else { throw wrongState("resume sandbox", id) }
            await save(id)
            deadlinesChanged.offer(())
            Timer(label: "sandbox_resume_duration_seconds", dimensions: [("from", source.rawValue)])
                .recordMilliseconds(stopwatch.totalMilliseconds)
            note(
                id, cause == .demand ? "auto_resumed" : "resumed",
                cause == .demand ? "resumed for a request" : "resumed from \(source.rawValue)",
                from: before.state, to: .running, ["source": source.rawValue])
            return running
        }
    }

    private func beginResuming(_ id: SandboxID, from source: ResumeSource) throws(MartletError) -> SandboxRecord {
        if let (before, _) = index.step(id, through: .resuming) { return before }
        if source == .disk, let (before, _) = index.step(id, through: .pausing, .paused, .resuming) { return before }
        guard index.record(id)?.state == .running else { throw wrongState("resume sandbox", id) }
        throw MartletError(
            .failedPrecondition, "resume sandbox: \(id): it runs; resume it from 'disk' to boot it afresh",
            details: ["sandbox": id.rawValue, "state": SandboxState.running.rawValue])
    }

    /// Takes note of where a sandbox stands after a step that failed, by what the node says.
    func settle(_ id: SandboxID, after error: any Error, doing what: String) async {
        guard let machine = await node.sandboxes().first(where: { $0.id == id }) else {
            return await fail(id, reason: "\(what) failed, and its machine is gone: \(error)")
        }
        if machine.state == .paused {
            index.step(id, through: .paused) { record in record.pausedAt = record.pausedAt ?? .now }
        } else {
            index.step(id, through: .running) { record in
                if record.pausedAt != nil { record.goesOn(as: machine, timeout: nil) }
            }
            deadlinesChanged.offer(())
        }
        await save(id)
        events.note(id, "state", "\(what) failed: \(error)".printable(300), ["state": machine.state.rawValue])
    }

    /// Writes a record down as it is now. Where it stands is the node's word after a restart, so that a store that
    /// does not take it is told to the log only.
    func save(_ id: SandboxID) async {
        do {
            try await shielded { [store, index] in try await store.updateLatest { index.record(id) } }
        } catch {
            logger.error("recording a sandbox failed", metadata: ["sandbox.id": "\(id)", "error": "\(error)"])
        }
    }

    /// Takes note of a change of state, for the history and the log.
    func note(
        _ id: SandboxID, _ kind: String, _ message: String, from: SandboxState, to: SandboxState,
        _ details: [String: String] = [:]
    ) {
        let states = ["from": from.rawValue, "to": to.rawValue]
        events.note(id, kind, message, details.merging(states) { $1 })
        logger.info(
            "sandbox state changed",
            metadata: [
                "sandbox.id": "\(id)", "from": "\(from.rawValue)", "to": "\(to.rawValue)", "cause": "\(message)",
            ])
    }

    /// Why a step cannot be taken now.
    func wrongState(_ doing: String, _ id: SandboxID) -> MartletError {
        guard let record = index.record(id) else { return Sandboxes.notFound(id.rawValue) }
        let why = record.reason.map { ": \($0)" } ?? ""
        return MartletError(
            .failedPrecondition, "\(doing): \(id): it is \(record.state.rawValue)\(why)",
            details: ["sandbox": id.rawValue, "state": record.state.rawValue])
    }
}

extension SandboxRecord {
    /// The sandbox runs (again) on a machine: its time counts anew.
    mutating func goesOn(as machine: NodeSandbox, timeout: Int?) {
        isolation = machine.isolation
        report = machine.report
        pausedAt = nil
        capture = nil
        if let timeout { timeoutSeconds = timeout }
        expiresAt = .now.adding(seconds: Int64(timeoutSeconds))
    }
}

extension Timer {
    func recordMilliseconds(_ milliseconds: Double) { recordNanoseconds(Int64(milliseconds * 1e6)) }
}
