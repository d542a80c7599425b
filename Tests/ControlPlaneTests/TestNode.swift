import CLinux
import Glibc
import GuestAgent
import GuestClient
import LinuxSystem
import Logging
import NIOCore
import NIOPosix
import Node
import SandboxModel
import Synchronization

/// A node without machines: every sandbox is a real guest agent on a thread of this process, reached through the real
/// guest protocol. Its "guest" is the computer the tests run on, so tests keep to their own directories.
final class TestNode: NodeService {
    struct Machine {
        var sandbox: NodeSandbox
        /// nil while it is paused.
        var connection: GuestConnection?
        /// What it was last told to have.
        var network = SandboxNetwork.closed
        var counters = NetworkCounters()
    }

    struct State {
        var machines: [SandboxID: Machine] = [:]
        var created: [SandboxSpec] = []
        var destroyed: [SandboxID] = []
        var createFailure: MartletError?
        var destroyFailure: MartletError?
        var createGate: (@Sendable () async -> Void)?
        var removedTemplates: [String] = []
        var derived: [String: NodeTemplate] = [:]
        var drafts: [TemplateDraft] = []
        var deriveFailure: MartletError?
        /// Templates that sandboxes run from.
        var templatesInUse: Set<String> = []
        var snapshots: [SnapshotID: NodeSnapshot] = [:]
        var snapshotBytes: UInt64 = 4096
        var calls: [Call] = []
        var gates: [Call: @Sendable () async -> Void] = [:]
        var failures: [Call: MartletError] = [:]
        var forked: [ForkSpec] = []
        /// Places of children that cannot be made.
        var failingChildren: Set<Int> = []
        var eventSource: AsyncStream<NodeEvent>.Continuation?
        /// What nobody has taken yet.
        var waitingEvents: [NodeEvent] = []
        var denialSource: AsyncStream<NodeDenial>.Continuation?
        var waitingDenials: [NodeDenial] = []
        var hostNetwork = NodeNetwork.unavailable(reason: "there is none in tests")
        /// Every network that was given, in the order it was.
        var given: [(id: SandboxID, network: SandboxNetwork)] = []
    }

    let state = Mutex(State())

    deinit {
        for machine in state.withLock({ $0.machines.values }) { machine.connection?.close() }
    }

    // MARK: What tests turn

    var created: [SandboxSpec] { state.withLock { $0.created } }
    var destroyed: [SandboxID] { state.withLock { $0.destroyed } }
    func failCreates(_ error: MartletError?) { state.withLock { $0.createFailure = error } }
    func failDestroys(_ error: MartletError?) { state.withLock { $0.destroyFailure = error } }
    /// Every create waits for `gate` first.
    func holdCreates(_ gate: (@Sendable () async -> Void)?) { state.withLock { $0.createGate = gate } }

    /// The machine ends by itself, as a VMM that was killed.
    func crash(_ id: SandboxID, reason: String) {
        let machine = state.withLock { state in
            let event = NodeEvent.ended(id, reason: reason)
            let isTaken = if case .enqueued? = state.eventSource?.yield(event) { true } else { false }
            if !isTaken { state.waitingEvents.append(event) }
            return state.machines.removeValue(forKey: id)
        }
        machine?.connection?.close()
    }

    // MARK: NodeService

    /// A new stream each time, so that a control plane may be started again on the same node.
    var events: AsyncStream<NodeEvent> {
        let (stream, source) = AsyncStream.makeStream(of: NodeEvent.self)
        state.withLock { state in
            for event in state.waitingEvents { source.yield(event) }
            state.waitingEvents = []
            state.eventSource = source
        }
        return stream
    }

    /// As `events`.
    var denials: AsyncStream<NodeDenial> {
        let (stream, source) = AsyncStream.makeStream(of: NodeDenial.self)
        state.withLock { state in
            for denial in state.waitingDenials { source.yield(denial) }
            state.waitingDenials = []
            state.denialSource = source
        }
        return stream
    }

    func create(_ spec: SandboxSpec) async throws -> NodeSandbox {
        let (gate, failure) = state.withLock { ($0.createGate, $0.createFailure) }
        await gate?()
        if let failure { throw failure }
        guard spec.template == "base" || state.withLock({ $0.derived[spec.template] != nil }) else {
            throw MartletError(.notFound, "template: '\(spec.template)' does not exist")
        }
        let sandbox = NodeSandbox(
            id: spec.id, template: spec.template,
            isolation: Isolation(engine: "test", accelerator: "none", level: .process),
            shape: try MachineShape(cpus: spec.cpus ?? 1, memoryMiB: spec.memoryMiB ?? 256),
            diskMiB: spec.diskMiB ?? 2048,
            report: CreateReport(mode: .warm, totalMilliseconds: 1, phases: ["thaw": 0.5]), isAdopted: false)
        let connection = try await TestNode.startAgent()
        state.withLock { state in
            state.machines[spec.id] = Machine(sandbox: sandbox, connection: connection, network: spec.network)
            state.created.append(spec)
            state.given.append((spec.id, spec.network))
        }
        return sandbox
    }

    static func startAgent() async throws -> GuestConnection {
        var ends: [Int32] = [-1, -1]
        try SystemError.check(clinux_socketpair(&ends), "socketpair")
        let configuration = AgentConfiguration(descriptor: ends[1], machine: UntouchedMachine())
        startThread {
            guard let agent = try? Agent(configuration) else { return }
            agent.run()
        }
        let connection = try await GuestConnection.start(
            descriptor: ends[0], takeover: false, group: NIOSingletons.posixEventLoopGroup,
            logger: Logger(label: "test"))
        try await connection.waitUntilSynchronized()
        return connection
    }

    func destroy(_ id: SandboxID) async throws {
        let (machine, failure) = state.withLock { state -> (Machine?, MartletError?) in
            if let failure = state.destroyFailure { return (nil, failure) }
            state.destroyed.append(id)
            return (state.machines.removeValue(forKey: id), nil)
        }
        if let failure { throw failure }
        guard let machine else { throw MartletError(.notFound, "sandbox: \(id) is not on this node") }
        machine.connection?.close()
        try await machine.connection?.closed.get()
    }

    func sandboxes() async -> [NodeSandbox] { state.withLock { $0.machines.values.map(\.sandbox) } }

    func guest(of id: SandboxID) async throws -> GuestConnection {
        guard let machine = state.withLock({ $0.machines[id] }) else {
            throw MartletError(.notFound, "sandbox: \(id) is not on this node")
        }
        guard let connection = machine.connection else {
            throw MartletError(.failedPrecondition, "sandbox: \(id) is paused")
        }
        return connection
    }

    func memory(of id: SandboxID) async throws -> (private: UInt64, proportional: UInt64) { (20 << 20, 30 << 20) }

    func consoleLog(of id: SandboxID) async throws -> [UInt8] { Array("booted \u{1B}[0m\n".utf8) + [0xFF] }

    func report() async -> NodeReport {
        NodeReport(
            kernel: "6.1", cpus: 2, memoryBytes: 1 << 34, memoryAvailableBytes: 1 << 33, diskAvailableBytes: 1 << 35,
            sandboxes: state.withLock { $0.machines.count }, maxSandboxes: 100,
            engines: [
                NodeEngine(
                    name: "test", isAvailable: true, version: "1",
                    isolation: Isolation(engine: "test", accelerator: "none", level: .process), reason: "always"),
                NodeEngine(
                    name: "firecracker", isAvailable: false, version: nil, isolation: nil, reason: "not installed"),
            ],
            pools: (try? MachineShape(cpus: 1, memoryMiB: 256)).map {
                [PoolReport(template: "base", shape: $0, shells: 1, warm: 2, targetShells: 2, targetWarm: 3)]
            } ?? [], network: state.withLock { $0.hostNetwork })
    }

    func templates() async throws -> [NodeTemplate] {
        ["base", "other"].map { name in
            NodeTemplate(
                name: name, description: "for tests", state: name == "base" ? "ready" : "absent", digest: nil,
                kernel: nil, sizeBytes: 1, builtAt: nil, cpus: 1, memoryMiB: 256, diskMiB: 2048, captures: 1,
                aliases: name == "other" ? ["another"] : [])
        } + state.withLock { Array($0.derived.values) }
    }

    func buildTemplate(
        _ name: String, force: Bool, progress: @escaping @Sendable (TemplateProgress) -> Void
    ) async throws -> NodeTemplate {
        for (index, stage) in ["root", "kernel", "capture"].enumerated() {
            progress(
                TemplateProgress(
                    stage: stage, index: index + 1, count: 3, message: "doing it", elapsedMilliseconds: Double(index)))
        }
        guard name != "other" else { throw MartletError(.unavailable, "build template: other: the mirror is away") }
        return try await templates()[0]
    }

    func removeTemplate(_ name: String) async throws {
        try state.withLock { state throws(MartletError) in
            guard !state.templatesInUse.contains(name) else {
                throw MartletError(.conflict, "remove: template \(name): it is in use")
            }
            state.removedTemplates.append(name)
            state.derived[name] = nil
        }
    }
    var removedTemplates: [String] { state.withLock { $0.removedTemplates } }
}

/// A guest's machine that takes what it is told and leaves the computer the tests run on as it is.
private struct UntouchedMachine: MachineControl {
    func setClock(nanoseconds: Int64) throws(SystemError) {}
    func reseed(entropy: [UInt8]) throws(SystemError) {}
    func setIdentity(hostname: String, machineID: String) throws(SystemError) {}
    func publishEnvironment(_ environment: [String]) throws(SystemError) {}
    func renewGeneration() throws(SystemError) {}
    func dropConnections() throws(SystemError) {}
    func hasOuterConnections() throws(SystemError) -> Bool { true }
    func hasHostKeys() throws(SystemError) -> Bool { true }
    func removeHostKeys() throws(SystemError) -> [String] { [] }
    func trust(certificate: [UInt8]) throws(SystemError) {}
    func growDisk(to bytes: UInt64) throws(SystemError) {}
    func synchronize() throws(SystemError) {}
    func powerOff() {}
}

/// Runs a blocking loop on a thread of its own.
private func startThread(_ body: @escaping @Sendable () -> Void) {
    final class Box: Sendable {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }
    var thread = pthread_t()
    pthread_create(
        &thread, nil,
        { argument in
            Unmanaged<Box>.fromOpaque(argument!).takeRetainedValue().body()
            return nil
        }, Unmanaged.passRetained(Box(body)).toOpaque())
    pthread_detach(thread)
}
