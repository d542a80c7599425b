import GuestClient
import GuestProtocol
import HostNetwork
import ImageStore
import LinuxSystem
import Logging
import Metrics
import SandboxEngine
import SandboxModel

extension Node {
    /// Least host memory that must be left before another sandbox is begun.
    private static let memoryReserve: UInt64 = 256 << 20

    package func create(_ spec: SandboxSpec) async throws -> NodeSandbox {
        try await admitted { try await createAdmitted(spec) }
    }

    private func createAdmitted(_ spec: SandboxSpec) async throws -> NodeSandbox {
        var watch = Stopwatch()
        let (image, wasBaked) = try await preparedImage(for: spec)
        watch.lap(wasBaked ? "bake" : "prepare")
        for capability in spec.needs.sorted() {
            try image.engine.require(capability, "create sandbox", spec.id.rawValue)
        }
        try check(spec.network, hasNetworkCard: image.image.hasNetworkCard)
        let diskMiB = spec.diskMiB ?? image.diskMiB
        guard (image.diskMiB...1_048_576).contains(diskMiB) else {
            throw MartletError.invalid(
                "disk_mb", "\(diskMiB) is outside \(image.diskMiB)...1048576; the template's disk is the least")
        }
        let grownDisk = diskMiB == image.diskMiB ? nil : diskMiB
        if grownDisk != nil { try image.engine.require(.diskGrowth, "create sandbox", spec.id.rawValue) }
        // What was started rather than restored keeps the disk's size it was started with.
        let grows = image.engine.bakesTemplates
        var base = image.image
        if !grows { base.diskBytes = UInt64(diskMiB) << 20 }
        let order = RestoreOrder(
            sandbox: spec.id, image: base, engine: image.engine,
            template: grows || grownDisk == nil ? image : nil, origin: image.origin, diskMiB: grows ? grownDisk : nil,
            network: spec.network,
            thaw: Thaw.forCreate(
                hostname: spec.hostname, environment: image.origin.environment + spec.environment,
                user: image.origin.user, diskMiB: grows ? grownDisk : nil, network: spec.network))
        let (spare, found) = try await handOut(order, &watch)
        let mode: CreateReport.Mode = wasBaked && found == .cold ? .baked : found
        let report = CreateReport(mode: mode, totalMilliseconds: watch.totalMilliseconds, phases: watch.phases)
        let file = SandboxFile(
            id: spec.id.rawValue, template: image.key.template, isolation: await image.engine.isolation(),
            shape: image.key.shape, diskMiB: diskMiB, report: report, generation: 0, hostname: spec.hostname,
            environment: spec.environment, origin: image.origin, base: base)
        let sandbox = try await settle(spare, file, spec.network)
        Metrics.Timer(label: "sandbox_handout_duration_seconds", dimensions: [("mode", mode.rawValue)])
            .recordNanoseconds(Int64(report.totalMilliseconds * 1e6))
        return sandbox
    }

    /// Writes down that a machine is a sandbox now, and makes it known. The machine is gone if that fails.
    func settle(
        _ spare: SpareMachine, _ draft: SandboxFile, _ network: SandboxNetwork
    ) async throws -> NodeSandbox {
        let (home, slot) = (spare.home, spare.home.slot)
        var file = draft
        file.slot = slot?.index
        file.policy = slot == nil ? nil : network.policy
        do {
            try Task.checkCancellation()
            guard let info = file.sandbox(isAdopted: false, state: .running, address: slot?.address) else {
                throw MartletError(.internal, "create: '\(file.id)' is no id")
            }
            try file.write(in: home.directory)
            register(RunningSandbox(info: info, machine: spare.machine, home: home, file: file))
            return info
        } catch {
            await dispose(spare.machine, home)
            throw Node.explained(error)
        }
    }

    /// Counts a sandbox that is being made against the host's limits for as long as `make` takes.
    ///
    /// - Throws: `resource_exhausted` when the host is full, `unavailable` when it shuts down.
    func admitted<Made: Sendable>(_ make: () async throws -> Made) async throws -> Made {
        try admit()
        creating += 1
        defer { creatingEnded() }
        return try await make()
    }

    private func admit() throws(MartletError) {
        guard !isShuttingDown else { throw MartletError(.unavailable, "create: the daemon is shutting down") }
        guard running.count + creating < configuration.maxSandboxes else {
            throw MartletError(
                .resourceExhausted,
                "create: this host has its \(configuration.maxSandboxes) sandboxes: remove one first",
                details: ["limit": "host", "max_sandboxes": "\(configuration.maxSandboxes)"])
        }
        guard HostFacts.memory().available > Node.memoryReserve else {
            throw MartletError(
                .resourceExhausted, "create: this host is out of memory: remove a sandbox first",
                details: ["limit": "memory"])
        }
    }

    private func creatingEnded() {
        creating -= 1
        signalRefill()
        guard creating == 0 else { return }
        let waiters = waitingForCreates
        waitingForCreates = []
        for waiter in waiters { waiter.resume() }
    }

    /// Returns when no create is under way: such a one holds a machine that is in no list yet.
    func waitForCreates() async {
        guard creating > 0 else { return }
        await withCheckedContinuation { waitingForCreates.append($0) }
    }

    /// Failures of the system as a client may see them.
    static func explained(_ error: any Error) -> any Error {
        guard let failure = error as? SystemError else { return error }
        if failure.errno == 28 || failure.errno == 122 {
            return MartletError(
                .resourceExhausted, "create: the data disk is full: free some space on it and try again")
        }
        if failure.errno == 12 || failure.errno == 11 || failure.errno == 24 || failure.errno == 23 {
            return MartletError(.resourceExhausted, "create: the host ran out of a resource: \(failure)")
        }
        return MartletError(.internal, "create: \(failure)")
    }
}
