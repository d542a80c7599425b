import GuestClient
import GuestProtocol
import HostNetwork
import LinuxSystem
import Logging
import NIOPosix
import SandboxEngine
import SandboxModel

extension Node {
    package func pause(_ id: SandboxID) async throws -> CaptureReport {
        try await lock(for: id).withLock { try await self.pauseAlone(id) }
    }

    private func pauseAlone(_ id: SandboxID) async throws -> CaptureReport {
        guard let sandbox = running[id] else { throw notRunning(id, "pause") }
        try require(.pause, "pause", sandbox.file)
        let fresh = try await capture(
            sandbox, CaptureOptions(resumes: false, flushes: true, toleratesSilence: true))
        var watch = Stopwatch()
        let stored: StoredCapture
        do {
            stored = try await seal(fresh, as: .pause, id: id.rawValue)
        } catch {
            await letGoOn(sandbox.machine)
            throw error
        }
        watch.lap("seal")
        guard running[id]?.home.directory == sandbox.home.directory else {
            await removeFiles(of: stored)
            throw notRunning(id, "pause")
        }
        running[id] = nil
        var info = sandbox.info
        info.state = .paused
        paused[id] = PausedSandbox(info: info, capture: stored)
        retire(sandbox)
        var report = fresh.report
        report.phases.merge(watch.phases) { $1 }
        return report
    }

    package func resume(
        _ id: SandboxID, from source: ResumeSource, network: SandboxNetwork
    ) async throws -> NodeSandbox {
        try await lock(for: id).withLock {
            switch source {
            case .memory: try await self.resumeFromMemory(id, network)
            case .disk: try await self.resumeFromDisk(id, network)
            }
        }
    }

    private func resumeFromMemory(_ id: SandboxID, _ network: SandboxNetwork) async throws -> NodeSandbox {
        guard let sleeper = paused[id] else {
            if running[id] != nil {
                throw MartletError(.failedPrecondition, "resume: \(id): it runs already")
            }
            throw unknown(id)
        }
        let info = try await admitted {
            try await goOn(sleeper.capture, sleeper.capture.manifest.sandbox, network, isRewound: false)
        }
        forgetPause(id)
        return info
    }

    /// Lets a sandbox go on from a capture of its own, in a new machine.
    func goOn(
        _ capture: StoredCapture, _ latest: SandboxFile, _ network: SandboxNetwork, isRewound: Bool
    ) async throws -> NodeSandbox {
        let engine = try await restorable(capture)
        try check(network, hasNetworkCard: capture.image.hasNetworkCard)
        var file = capture.manifest.sandbox
        guard let id = SandboxID(rawValue: file.id) else {
            throw MartletError(.internal, "resume: '\(file.id)' is no id")
        }
        file.generation = latest.generation + 1
        file.environment = latest.environment
        var watch = Stopwatch()
        let order = RestoreOrder(
            sandbox: id, image: capture.image, engine: engine, network: network,
            thaw: Thaw.forResume(isRewound: isRewound, network: network, besides: file.givenEnvironment))
        let (spare, _) = try await handOut(order, &watch)
        file.report = CreateReport(mode: .restored, totalMilliseconds: watch.totalMilliseconds, phases: watch.phases)
        return try await settle(spare, file, network)
    }

    private func resumeFromDisk(_ id: SandboxID, _ network: SandboxNetwork) async throws -> NodeSandbox {
        if let sleeper = paused[id] {
            let file = sleeper.capture.manifest.sandbox
            // Whatever is wrong with its memory, or with this host for it, does not matter here.
            let store = store
            try await NIOThreadPool.singleton.runIfActive { try store.verifyDisk(sleeper.capture) }
            let info = try await admitted { try await boot(sleeper.capture.image, file, network) }
            forgetPause(id)
            return info
        }
        guard let sandbox = running[id] else { throw unknown(id) }
        try require(.reboot, "boot from disk", sandbox.file)
        // Its memory is not wanted, but a capture is what knows the layers of its disk.
        let fresh = try await capture(sandbox, CaptureOptions(resumes: false, flushes: true, toleratesSilence: true))
        do {
            let info = try await boot(fresh.image, fresh.file, network)
            await dispose(sandbox.machine, sandbox.home)
            await discard(fresh.staged)
            return info
        } catch {
            await letGoOn(sandbox.machine)
            await discard(fresh.staged)
            throw error
        }
    }

    /// Boots a sandbox's disk in a new machine.
    private func boot(
        _ image: MachineImage, _ latest: SandboxFile, _ network: SandboxNetwork
    ) async throws -> NodeSandbox {
        guard let engine = engines.first(where: { $0.name == latest.isolation.engine }) else {
            throw MartletError(.failedPrecondition, "boot: engine \(latest.isolation.engine) is not here")
        }
        // Whatever it had: a kernel that starts finds the devices there are now.
        let hasCard = self.network != nil
        try check(network, hasNetworkCard: hasCard)
        let (store, origin) = (store, latest.origin)
        var base = try await NIOThreadPool.singleton.runIfActive { try store.bases.keepBlank(image, origin) }
        base.hasNetworkCard = hasCard
        var disk = image
        disk.hasNetworkCard = hasCard
        disk.digest = base.digest
        disk.memory = base.memory
        disk.pages = nil
        // A capture of it will be of a machine of today.
        let compatibility = try await engine.compatibility(of: image.shape, hasNetworkCard: hasCard)
        var watch = Stopwatch()
        let home = try await makeHome(hasNetworkCard: hasCard, for: engine)
        let spare: SpareMachine
        do {
            let boot = BootImage(
                kernel: origin.kernel, initramfs: origin.initramfs, rootDisk: image.baseDisks[0], shape: image.shape)
            if let id = SandboxID(rawValue: latest.id) { try await home.slot?.apply(network, onDenial: teller(of: id)) }
            let machine = try await engine.boot(
                boot, from: disk, in: home.directory, network: machineNetwork(of: home))
            watch.lap("boot")
            try await startServices(of: origin, in: machine.guest, &watch)
            spare = SpareMachine(machine: machine, home: home, imageDigest: disk.digest)
            let thaw = Thaw.forCreate(
                hostname: latest.hostname, environment: latest.givenEnvironment, user: origin.user, diskMiB: nil,
                network: network)
            try await machine.guest.thaw(thaw())
            watch.lap("thaw")
            mergeIfDeep(machine, image)
        } catch {
            for engine in engines { await engine.reclaim(home.directory) }
            await giveUp(home)
            throw Node.explained(error)
        }
        var file = latest
        file.generation += 1
        file.base = base
        file.origin.compatibility = compatibility
        file.report = CreateReport(mode: .booted, totalMilliseconds: watch.totalMilliseconds, phases: watch.phases)
        return try await settle(spare, file, network)
    }

    /// Starts what its template has running. A disk on which that fails is what the sandbox made of it: it runs all the
    /// same, and services that could be started are kept running.
    private func startServices(
        of origin: SandboxOrigin, in guest: GuestConnection, _ watch: inout Stopwatch
    ) async throws {
        guard let services = origin.services, !services.isEmpty else { return }
        for service in services {
            do {
                try await guest.startServices([service], environment: origin.environment)
            } catch let error as MartletError where error.code == .failedPrecondition {
                logger.warning(
                    "a service does not come up", metadata: ["service": "\(service.name)", "error": "\(error)"])
            }
        }
        watch.lap("services")
    }

    /// Makes sure that a sandbox's engine can do something.
    ///
    /// - Throws: `unsupported`, naming the engine and what to choose instead.
    func require(_ capability: EngineCapability, _ action: String, _ file: SandboxFile) throws(MartletError) {
        try engines.first { $0.name == file.isolation.engine }?.require(capability, action, file.id)
    }

    func notRunning(_ id: SandboxID, _ what: String) -> MartletError {
        if paused[id] != nil { return MartletError(.failedPrecondition, "\(what): \(id): it is paused") }
        return unknown(id)
    }

    func unknown(_ id: SandboxID) -> MartletError {
        MartletError(.notFound, "sandbox: \(id): there is none of that id on this host")
    }
}
