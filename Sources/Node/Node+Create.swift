import GuestClient
import GuestProtocol
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
        try admit()
        creating += 1
        defer { creatingEnded() }
        var watch = Stopwatch()
        let (image, wasBaked) = try await preparedImage(for: spec)
        watch.lap(wasBaked ? "bake" : "prepare")
        let diskMiB = spec.diskMiB ?? image.diskMiB
        guard (image.diskMiB...1_048_576).contains(diskMiB) else {
            throw MartletError.invalid(
                "disk_mb", "\(diskMiB) is outside \(image.diskMiB)...1048576; the template's disk is the least")
        }
        let (spare, mode) = try await handOut(spec, image, diskMiB: diskMiB, wasBaked: wasBaked, &watch)
        let report = CreateReport(mode: mode, totalMilliseconds: watch.totalMilliseconds, phases: watch.phases)
        let info = NodeSandbox(
            id: spec.id, template: spec.template, isolation: await image.engine.isolation(), shape: image.key.shape,
            diskMiB: diskMiB, report: report, isAdopted: false)
        do {
            try Task.checkCancellation()
            try SandboxFile(info, image: image.image).write(in: spare.directory)
        } catch {
            await dispose(spare.machine, spare.directory)
            throw Node.explained(error)
        }
        register(
            RunningSandbox(
                info: info, machine: spare.machine, directory: spare.directory, imageDigest: image.image.digest))
        Metrics.Timer(label: "sandbox_create_duration_seconds", dimensions: [("mode", mode.rawValue)])
            .recordNanoseconds(Int64(report.totalMilliseconds * 1e6))
        return info
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

    /// A machine that has confirmed its thaw: a warm one if there is one, else a shell, else a new one. A machine
    /// found dead on the way is replaced by the next kind.
    private func handOut(
        _ spec: SandboxSpec, _ image: PreparedImage, diskMiB: Int, wasBaked: Bool, _ watch: inout Stopwatch
    ) async throws -> (SpareMachine, CreateReport.Mode) {
        while let spare = takeWarm(image) {
            do {
                try await spare.machine.resume()
                watch.lap("continue")
                try await thaw(spare.machine, spec, image, diskMiB)
                watch.lap("thaw")
                return (spare, .warm)
            } catch {
                await discard(spare, error)
            }
        }
        while let spare = takeShell(image) {
            do {
                try await restoreAndThaw(spare.machine, spec, image, diskMiB, &watch)
                return (spare, .shell)
            } catch {
                await discard(spare, error)
            }
        }
        let spare = try await startShell(image)
        watch.lap("spawn")
        do {
            try await restoreAndThaw(spare.machine, spec, image, diskMiB, &watch)
        } catch {
            await dispose(spare.machine, spare.directory)
            throw Node.explained(error)
        }
        return (spare, wasBaked ? .baked : .cold)
    }

    private func discard(_ spare: SpareMachine, _ error: any Error) async {
        logger.warning("a machine kept ready was dead", metadata: ["error": "\(error)"])
        await dispose(spare.machine, spare.directory)
    }

    private func restoreAndThaw(
        _ machine: any Machine, _ spec: SandboxSpec, _ image: PreparedImage, _ diskMiB: Int, _ watch: inout Stopwatch
    ) async throws {
        try await machine.restore()
        watch.lap("restore")
        try await thaw(machine, spec, image, diskMiB)
        watch.lap("thaw")
    }

    private func thaw(_ machine: any Machine, _ spec: SandboxSpec, _ image: PreparedImage, _ diskMiB: Int) async throws
    {
        if diskMiB != image.diskMiB { try await machine.growDisk(toMiB: diskMiB) }
        try await thaw(
            machine, hostname: spec.hostname, environment: image.environment + spec.environment, user: image.user,
            diskBytes: diskMiB == image.diskMiB ? 0 : UInt64(diskMiB) << 20)
    }

    /// Gives a guest the time, fresh randomness and an identity of its own; throws unless it confirms all of it.
    func thaw(
        _ machine: any Machine, hostname: String, environment: [String], user: String, diskBytes: UInt64
    ) async throws {
        var generator = SystemRandomNumberGenerator()
        let entropy = (0..<64).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
        let hexadecimal = Array("0123456789abcdef")
        let machineID = String((0..<32).map { _ in hexadecimal[Int.random(in: 0..<16, using: &generator)] })
        try await machine.guest.thaw(
            Thaw(
                wallClockNanoseconds: Clocks.realtimeNanoseconds, entropy: entropy, hostname: hostname,
                machineID: machineID, environment: environment, diskBytes: diskBytes, user: user))
    }

    /// Starts a shell in a directory of its own; nothing is left when that fails.
    func startShell(_ image: PreparedImage) async throws -> SpareMachine {
        let directory = try makeMachineDirectory()
        do {
            let machine = try await image.engine.startShell(image.image, in: directory)
            return SpareMachine(machine: machine, directory: directory, imageDigest: image.image.digest)
        } catch {
            await Node.removeDirectory(directory)
            // The image may have been damaged under us: look at it afresh next time.
            prepared[image.key] = nil
            throw Node.explained(error)
        }
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
