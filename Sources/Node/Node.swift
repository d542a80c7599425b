import FoundationEssentials
import Glibc
import GuestClient
import HostNetwork
import ImageStore
import LinuxSystem
import Logging
import NIOPosix
import SandboxEngine
import SandboxModel
import ServiceLifecycle

/// One host: holds the machines of all its sandboxes, keeps some ready ahead of demand, and cleans up after whatever
/// ended, itself included.
///
/// Call `recover()` once before anything else, and keep `run()` running.
package actor Node: NodeService, Service {
    let configuration: NodeConfiguration
    let engines: [any SandboxEngine]
    let images: ImageStore
    /// nil: sandboxes have no network card, for the reason that follows.
    let network: HostNetwork?
    let networkObstacle: String
    let logger: Logger
    let owner = TaskOwner()
    let preparing = SingleFlight<PreparedImage.Key, PreparedImage>()

    package nonisolated let events: AsyncStream<NodeEvent>
    let eventSink: AsyncStream<NodeEvent>.Continuation
    package nonisolated let denials: AsyncStream<NodeDenial>
    let denialSink: AsyncStream<NodeDenial>.Continuation
    /// Denials that wait to be taken, at most.
    private static let maxDenials = 4096

    let store: SnapshotStore
    var running: [SandboxID: RunningSandbox] = [:]
    var paused: [SandboxID: PausedSandbox] = [:]
    var entries: [SnapshotID: SnapshotEntry] = [:]
    var locks: [SandboxID: AsyncLock] = [:]
    /// Forks under way, whose bases nobody stands on yet.
    var makingBases = 0
    /// Sandboxes being removed: their machines end because they are asked to.
    var ending: Set<SandboxID> = []
    /// Sandboxes between admission and hand-out: they count against the limit.
    var creating = 0
    var waitingForCreates: [CheckedContinuation<Void, Never>] = []
    var prepared: [PreparedImage.Key: PreparedImage] = [:]
    var pools: [PreparedImage.Key: MachinePool] = [:]
    var isShuttingDown = false
    let refillSignals: AsyncStream<Void>
    let refillSignal: AsyncStream<Void>.Continuation

    /// - Parameter network: where sandboxes get their slots from, or why there is none; whoever made it runs it, before
    ///   the node and until after it.
    package init(
        configuration: NodeConfiguration, engines: [any SandboxEngine], images: ImageStore,
        network: Result<HostNetwork, MartletError>, logger: Logger
    ) throws {
        self.configuration = configuration
        self.engines = engines
        self.images = images
        self.logger = logger
        switch network {
        case .success(let network): (self.network, networkObstacle) = (network, "")
        case .failure(let error): (self.network, networkObstacle) = (nil, error.message)
        }
        (events, eventSink) = AsyncStream.makeStream()
        (denials, denialSink) = AsyncStream.makeStream(bufferingPolicy: .bufferingOldest(Node.maxDenials))
        (refillSignals, refillSignal) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
        store = try SnapshotStore(root: configuration.directory)
        try FileManager.default.createDirectory(
            atPath: "\(configuration.directory)/machines", withIntermediateDirectories: true,
            attributes: [.posixPermissions: 0o700])
    }

    /// Keeps the pools full and watches machines until the service group shuts down.
    package func run() async throws {
        for template in configuration.pool.hotTemplates where configuration.pool.isEnabled { warmUp(template) }
        owner.start { [images] in _ = await images.collectGarbage() }
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.owner.run() }
            group.addTask { await self.refillLoop() }
            try? await gracefulShutdown()
            group.cancelAll()
        }
        await shutDown()
    }

    private func shutDown() async {
        isShuttingDown = true
        await waitForCreates()
        await drainPools()
        guard configuration.stopsSandboxesOnShutdown else { return }
        for id in running.keys { try? await destroy(id) }
    }

    // MARK: NodeService

    package func destroy(_ id: SandboxID) async throws {
        guard running[id] != nil || paused[id] != nil || locks[id] != nil, ending.insert(id).inserted else {
            throw unknown(id)
        }
        defer { ending.remove(id) }
        // Whatever is under way with it fails at once, instead of being waited for.
        if let machine = running[id]?.machine { await machine.kill() }
        let isGone = await lock(for: id).withLock { await self.destroyAlone(id) }
        locks[id] = nil
        guard isGone else { throw unknown(id) }
        signalRefill()
    }

    private func destroyAlone(_ id: SandboxID) async -> Bool {
        let (sandbox, sleeper) = (running.removeValue(forKey: id), paused.removeValue(forKey: id))
        if let sandbox { await dispose(sandbox.machine, sandbox.home) }
        if let sleeper { await removeFiles(of: sleeper.capture) }
        if (sandbox?.imageDigest ?? sleeper?.imageDigest)?.hasPrefix(BaseStore.mergedPrefix) == true {
            collectMergedBases()
        }
        return sandbox != nil || sleeper != nil
    }

    package func sandboxes() -> [NodeSandbox] { running.values.map(\.info) + paused.values.map(\.info) }

    package func guest(of id: SandboxID) throws -> GuestConnection { try sandbox(id).machine.guest }

    package func memory(of id: SandboxID) async throws -> (private: UInt64, proportional: UInt64) {
        try await sandbox(id).machine.memory()
    }

    package func consoleLog(of id: SandboxID) async throws -> [UInt8] {
        try await sandbox(id).machine.consoleLog()
    }

    package func report() async -> NodeReport {
        var found: [NodeEngine] = []
        for engine in engines {
            let report = await engine.inspect()
            found.append(
                NodeEngine(
                    name: report.name, isAvailable: report.isAvailable, version: report.version,
                    isolation: report.isolation, reason: report.reason, capabilities: engine.capabilities))
        }
        let memory = HostFacts.memory()
        return NodeReport(
            kernel: HostKernel.release, cpus: HostFacts.processors, memoryBytes: memory.total,
            memoryAvailableBytes: memory.available,
            diskAvailableBytes: HostFacts.diskAvailable(at: configuration.directory), sandboxes: running.count,
            maxSandboxes: configuration.maxSandboxes, engines: found, pools: poolReports(),
            network: await networkReport())
    }

    // MARK: Machines

    private func sandbox(_ id: SandboxID) throws(MartletError) -> RunningSandbox {
        guard let sandbox = running[id] else {
            throw notRunning(id, "sandbox")
        }
        return sandbox
    }

    /// Makes a sandbox known and watches its machine.
    func register(_ sandbox: RunningSandbox) {
        let id = sandbox.info.id
        running[id] = sandbox
        let machine = sandbox.machine
        owner.start { [weak self] in
            await machine.waitUntilEnded()
            guard !Task.isCancelled else { return }
            await self?.machineEnded(id, sandbox.home.directory)
        }
    }

    /// A machine ended; if nobody asked for it, somebody must hear of it.
    private func machineEnded(_ id: SandboxID, _ directory: String) async {
        guard let sandbox = running[id], sandbox.home.directory == directory, !ending.contains(id) else { return }
        running[id] = nil
        logger.warning("machine ended unasked", metadata: ["sandbox.id": "\(id)"])
        await dispose(sandbox.machine, sandbox.home)
        eventSink.yield(
            .ended(id, reason: "its machine ended: the guest powered off, crashed, or was killed on the host"))
        signalRefill()
    }
}
