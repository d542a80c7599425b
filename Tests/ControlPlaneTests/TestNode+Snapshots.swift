import GuestClient
import NIOCore
import Node
import SandboxModel
import Synchronization

/// Captures without memory: what is kept of a sandbox is its facts, and what goes on from them is a fresh agent.
extension TestNode {
    enum Call: Hashable {
        case pause, resume, snapshot, fork, rewind, removeSnapshot, export, importing, setNetwork
    }

    // MARK: What tests turn

    /// Every call of this kind waits for `gate` first.
    func hold(_ call: Call, _ gate: (@Sendable () async -> Void)?) { state.withLock { $0.gates[call] = gate } }
    /// Every call of this kind fails and changes nothing; an export fails after its first piece.
    func fail(_ call: Call, _ error: MartletError?) { state.withLock { $0.failures[call] = error } }
    func failChildren(_ places: Set<Int>) { state.withLock { $0.failingChildren = places } }
    /// What every capture takes from now on.
    func setSnapshotBytes(_ bytes: UInt64) { state.withLock { $0.snapshotBytes = bytes } }
    func count(_ call: Call) -> Int { state.withLock { state in state.calls.count { $0 == call } } }
    var forked: [ForkSpec] { state.withLock { $0.forked } }
    var snapshotIDs: Set<SnapshotID> { state.withLock { Set($0.snapshots.keys) } }
    /// The snapshot is gone, as one that was not sealed when the power went.
    func lose(_ id: SnapshotID) { _ = state.withLock { $0.snapshots.removeValue(forKey: id) } }
    /// The sandbox is paused on the node without the control plane knowing.
    func pauseSilently(_ id: SandboxID) { setPaused(id)?.close() }

    /// An event that a sandbox's machine ended, while the sandbox is still there.
    func announceEnd(_ id: SandboxID, reason: String) {
        state.withLock { state in
            _ = state.eventSource?.yield(.ended(id, reason: reason))
        }
    }

    // MARK: NodeService

    func pause(_ id: SandboxID) async throws -> CaptureReport {
        try await begin(.pause)
        guard try machine(id).connection != nil else {
            throw MartletError(.failedPrecondition, "pause: \(id): it is paused already")
        }
        let connection = setPaused(id)
        connection?.close()
        try? await connection?.closed.get()
        return captureReport()
    }

    func resume(_ id: SandboxID, from source: ResumeSource, network: SandboxNetwork) async throws -> NodeSandbox {
        try await begin(.resume)
        if source == .memory, try machine(id).connection != nil {
            throw MartletError(.failedPrecondition, "resume: \(id): it runs")
        }
        return try await restart(id, mode: source == .memory ? .restored : .booted, network)
    }

    func rewind(_ id: SandboxID, to snapshot: SnapshotID, network: SandboxNetwork) async throws -> NodeSandbox {
        try await begin(.rewind)
        guard state.withLock({ $0.snapshots[snapshot] }) != nil else {
            throw MartletError(.notFound, "rewind: snapshot \(snapshot) is not on this node")
        }
        return try await restart(id, mode: .restored, network)
    }

    func snapshot(_ id: SandboxID, as spec: SnapshotSpec) async throws -> NodeSnapshot {
        try await begin(.snapshot)
        let sandbox = try machine(id).sandbox
        let snapshot = NodeSnapshot(
            id: spec.id, sandbox: id, template: sandbox.template, isolation: sandbox.isolation, shape: sandbox.shape,
            diskMiB: sandbox.diskMiB, report: captureReport())
        state.withLock { $0.snapshots[spec.id] = snapshot }
        return snapshot
    }

    func fork(_ source: ForkSource, into children: [ForkSpec]) async throws -> ForkOutcome {
        try await begin(.fork)
        let original = try original(of: source)
        var outcomes: [Result<NodeSandbox, MartletError>] = []
        for (place, child) in children.enumerated() {
            if state.withLock({ $0.failingChildren.contains(place) }) {
                outcomes.append(.failure(MartletError(.unavailable, "fork: \(child.id): its guest does not answer")))
                continue
            }
            var sandbox = original
            sandbox.id = child.id
            sandbox.state = .running
            sandbox.report = CreateReport(mode: .restored, totalMilliseconds: 2, phases: ["thaw": 1])
            let machine = Machine(
                sandbox: sandbox, connection: try await TestNode.startAgent(), network: child.network)
            state.withLock { state in
                state.given.append((child.id, child.network))
                state.machines[child.id] = machine
                state.forked.append(child)
            }
            outcomes.append(.success(sandbox))
        }
        return ForkOutcome(report: captureReport(), children: outcomes)
    }

    func snapshots() async -> [NodeSnapshot] { state.withLock { Array($0.snapshots.values) } }

    func removeSnapshot(_ id: SnapshotID) async throws {
        try await begin(.removeSnapshot)
        guard state.withLock({ $0.snapshots.removeValue(forKey: id) }) != nil else {
            throw MartletError(.notFound, "snapshot: \(id) is not on this node")
        }
    }

    func checkExport(of id: SnapshotID) async throws {}

    func exportSnapshot(
        _ id: SnapshotID, to sink: @escaping @Sendable ([UInt8]) async throws -> Void
    ) async throws {
        let gate = state.withLock { state in
            state.calls.append(.export)
            return state.gates[.export]
        }
        await gate?()
        try await sink(Array(TestNode.exportStart.utf8))
        if let failure = state.withLock({ $0.failures[.export] }) { throw failure }
        for _ in 0..<16 { try await sink([UInt8](repeating: 7, count: 64 << 10)) }
        try await sink(Array(TestNode.exportEnd.utf8))
    }

    func importSnapshot(
        as id: SnapshotID, from source: @escaping @Sendable () async throws -> [UInt8]?
    ) async throws -> NodeSnapshot {
        try await begin(.importing)
        var bytes: [UInt8] = []
        while let piece = try await source() { bytes += piece }
        guard bytes.starts(with: TestNode.exportStart.utf8), bytes.suffix(3).elementsEqual(TestNode.exportEnd.utf8)
        else { throw MartletError(.invalidArgument, "import: this is no export, or not all of one") }
        let snapshot = NodeSnapshot(
            id: id, sandbox: .random(), template: "base",
            isolation: Isolation(engine: "test", accelerator: "none", level: .process),
            shape: try MachineShape(cpus: 1, memoryMiB: 256), diskMiB: 2048, report: captureReport())
        state.withLock { $0.snapshots[id] = snapshot }
        return snapshot
    }

    static var exportStart: String { "martlet-test-export " }
    static var exportEnd: String { "end" }

    // MARK: Inside

    func begin(_ call: Call) async throws {
        let (gate, failure) = state.withLock { state in
            state.calls.append(call)
            return (state.gates[call], state.failures[call])
        }
        await gate?()
        if let failure { throw failure }
    }

    func machine(_ id: SandboxID) throws -> Machine {
        guard let machine = state.withLock({ $0.machines[id] }) else {
            throw MartletError(.notFound, "sandbox: \(id) is not on this node")
        }
        return machine
    }

    private func original(of source: ForkSource) throws -> NodeSandbox {
        switch source {
        case .sandbox(let id): return try machine(id).sandbox
        case .snapshot(let id):
            guard let snapshot = state.withLock({ $0.snapshots[id] }) else {
                throw MartletError(.notFound, "fork: snapshot \(id) is not on this node")
            }
            return NodeSandbox(
                id: snapshot.sandbox, template: snapshot.template, isolation: snapshot.isolation,
                shape: snapshot.shape, diskMiB: snapshot.diskMiB,
                report: CreateReport(mode: .restored, totalMilliseconds: 1, phases: [:]), isAdopted: false)
        }
    }

    private func setPaused(_ id: SandboxID) -> GuestConnection? {
        state.withLock { state in
            let connection = state.machines[id]?.connection
            state.machines[id]?.connection = nil
            state.machines[id]?.sandbox.state = .paused
            return connection
        }
    }

    private func restart(
        _ id: SandboxID, mode: CreateReport.Mode, _ network: SandboxNetwork
    ) async throws -> NodeSandbox {
        _ = try machine(id)
        let connection = try await TestNode.startAgent()
        let (old, sandbox) = state.withLock { state in
            let old = state.machines[id]?.connection
            state.machines[id]?.connection = connection
            state.machines[id]?.network = network
            state.machines[id]?.counters = NetworkCounters()
            state.given.append((id, network))
            state.machines[id]?.sandbox.state = .running
            state.machines[id]?.sandbox.report = CreateReport(mode: mode, totalMilliseconds: 1, phases: [:])
            return (old, state.machines[id]?.sandbox)
        }
        old?.close()
        guard let sandbox else { throw MartletError(.notFound, "sandbox: \(id) is not on this node") }
        return sandbox
    }

    private func captureReport() -> CaptureReport {
        CaptureReport(
            capturedAt: Timestamp(milliseconds: 1_700_000_000_000), pauseMilliseconds: 3.5, phases: ["pages": 2.5],
            memoryBytes: state.withLock { $0.snapshotBytes }, diskBytes: 512)
    }
}
