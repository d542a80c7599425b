import FoundationEssentials
import Glibc
import GuestClient
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

    package init(
        configuration: NodeConfiguration, engines: [any SandboxEngine], images: ImageStore, logger: Logger
    ) throws {
        self.configuration = configuration
        self.engines = engines
        self.images = images
        self.logger = logger
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
        if let sandbox { await dispose(sandbox.machine, sandbox.directory) }
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
                    isolation: report.isolation, reason: report.reason))
        }
        let memory = HostFacts.memory()
        return NodeReport(
            kernel: HostFacts.kernelRelease, cpus: HostFacts.processors, memoryBytes: memory.total,
            memoryAvailableBytes: memory.available,
            diskAvailableBytes: HostFacts.diskAvailable(at: configuration.directory), sandboxes: running.count,
            maxSandboxes: configuration.maxSandboxes, engines: found, pools: poolReports(),
            network: .unavailable(reason: "not set up"))
    }

    // MARK: Machines

    private func sandbox(_ id: SandboxID) throws(MartletError) -> RunningSandbox {
        guard let sandbox = running[id] else {
            throw notRunning(id, "sandbox")
        }
        return sandbox
    }

    /// Ends a machine and removes its directory.
    nonisolated func dispose(_ machine: any Machine, _ directory: String) async {
        await machine.kill()
        await Node.removeDirectory(directory)
    }

    /// Removes a directory with all that is in it, also in a task that was cancelled: that is when most is left over.
    static func removeDirectory(_ directory: String) async {
        await withCheckedContinuation { continuation in
            NIOThreadPool.singleton.submit { _ in
                try? FileManager.default.removeItem(atPath: directory)
                continuation.resume()
            }
        }
    }

    /// A new, empty directory for one machine.
    func makeMachineDirectory() throws -> String {
        let path = "\(configuration.directory)/machines/\(RandomID.make(prefix: "m"))"
        guard mkdir(path, 0o700) == 0 else {
            let full = errno == ENOSPC || errno == EDQUOT
            throw MartletError(
                full ? .resourceExhausted : .internal,
                "create: \(path): \(String(cString: strerror(errno)))"
                    + (full ? ": free some space on the data disk" : ""))
        }
        return path
    }

    /// Makes a sandbox known and watches its machine.
    func register(_ sandbox: RunningSandbox) {
        let id = sandbox.info.id
        running[id] = sandbox
        let machine = sandbox.machine
        owner.start { [weak self] in
            await machine.waitUntilEnded()
            guard !Task.isCancelled else { return }
            await self?.machineEnded(id, sandbox.directory)
        }
    }

    /// A machine ended; if nobody asked for it, somebody must hear of it.
    private func machineEnded(_ id: SandboxID, _ directory: String) async {
        guard let sandbox = running[id], sandbox.directory == directory, !ending.contains(id) else { return }
        running[id] = nil
        logger.warning("machine ended unasked", metadata: ["sandbox.id": "\(id)"])
        await dispose(sandbox.machine, directory)
        eventSink.yield(
            .ended(id, reason: "its machine ended: the guest powered off, crashed, or was killed on the host"))
        signalRefill()
    }
}
