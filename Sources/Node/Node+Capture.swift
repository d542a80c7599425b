import GuestClient
import GuestProtocol
import ImageStore
import LinuxSystem
import Logging
import NIOPosix
import SandboxEngine
import SandboxModel

/// A capture that was just made: complete, but neither flushed nor sealed.
struct FreshCapture: Sendable {
    /// Where the files are; belongs to whoever has this.
    var staged: String
    var image: MachineImage
    /// The sandbox as it was, its base's paths leading to what is kept of it.
    var file: SandboxFile
    var report: CaptureReport

    /// What is sealed.
    func manifest(_ kind: SnapshotManifest.Kind, id: String) -> SnapshotManifest {
        var file = file
        // The environment is for programs of this sandbox; a snapshot may become somebody else's.
        if kind == .snapshot { file.environment = [] }
        var manifest = SnapshotManifest(
            kind: kind, id: id, sandbox: file, report: report, layers: image.layers.count,
            isBetweenFrames: image.isBetweenFrames)
        // What has all of its memory itself is of an engine that names its files as it likes.
        if image.memory.isEmpty {
            func name(_ path: String) -> String { String(path.split(separator: "/").last ?? "") }
            manifest.names = SnapshotManifest.Names(
                deviceState: name(image.deviceState), pages: name(image.pages ?? ""), layers: image.layers.map(name))
        }
        return manifest
    }
}

extension Node {
    /// How a capture is made.
    struct CaptureOptions: Sendable {
        /// Whether the sandbox goes on afterwards.
        var resumes: Bool
        /// Whether the guest first brings what it wrote to its disk, so that the disk alone can be booted later.
        var flushes = false
        /// Whether a guest that does not answer is captured all the same.
        var toleratesSilence = false
    }

    /// Captures a running sandbox. Its programs are held meanwhile, so that none of them runs in a copy before the copy
    /// has been given a time, randomness and a name of its own. It goes on as before if this fails.
    func capture(_ sandbox: RunningSandbox, _ options: CaptureOptions) async throws -> FreshCapture {
        let (store, machine) = (store, sandbox.machine)
        var file = sandbox.file
        file.slot = nil
        let (base, origin) = (file.base, file.origin)
        let (kept, staged) = try await NIOThreadPool.singleton.runIfActive {
            (try store.bases.keep(base, origin), try store.stage())
        }
        file.base = kept.image
        file.origin.kernel = kept.origin.kernel
        file.origin.initramfs = kept.origin.initramfs
        var watch = Stopwatch()
        do {
            let isBetweenFrames = try await hold(sandbox, options)
            watch.lap("hold")
            let capturedAt = Timestamp(milliseconds: Clocks.realtimeMilliseconds)
            let made = try await machine.capture(into: staged, resumes: options.resumes)
            watch.lap("capture")
            if options.resumes {
                try await machine.guest.release()
                watch.lap("release")
            }
            let pause = watch.totalMilliseconds
            if options.resumes { mergeLater(machine) }
            var image = made.image
            image.memory = kept.image.memory
            image.baseDisks = kept.image.baseDisks
            image.isBetweenFrames = isBetweenFrames
            var phases = watch.phases.merging(made.phases) { _, engine in engine }
            phases["capture"] = nil
            func stored(_ paths: [String]) -> UInt64 {
                UInt64(clamping: paths.reduce(0) { $0 + StoreFiles.allocatedBytes($1) })
            }
            let report = CaptureReport(
                capturedAt: capturedAt, pauseMilliseconds: pause, phases: phases,
                memoryBytes: stored(image.pages.map { [$0] } ?? []), diskBytes: stored(image.layers))
            return FreshCapture(staged: staged, image: image, file: file, report: report)
        } catch {
            try? await machine.guest.release()
            await discard(staged)
            throw Node.explained(error)
        }
    }

    /// Layers of a disk from which on what goes on from it merges them itself.
    private static let deepChain = 16

    /// Keeps disks from growing deeper with every generation: a child is captured with the layers it came with, and
    /// would hand one more of them on to its own children, before its parent has merged any.
    func mergeIfDeep(_ machine: any Machine, _ image: MachineImage) {
        if image.layers.count >= Node.deepChain { mergeLater(machine) }
    }

    /// Merges the layers captures have left, if there are many, while the guest runs on.
    private func mergeLater(_ machine: any Machine) {
        owner.start { [logger] in
            do {
                try await machine.mergeLayers()
            } catch {
                logger.debug("merging layers failed", metadata: ["error": "\(error)"])
            }
        }
    }

    /// Holds a guest's programs.
    ///
    /// - Returns: whether the host's half of the protocol is between two frames.
    private func hold(_ sandbox: RunningSandbox, _ options: CaptureOptions) async throws -> Bool {
        let name = sandbox.file.isolation.engine
        let mustHold = engines.first { $0.name == name }?.holdsPrograms ?? true
        do {
            let held = try await sandbox.machine.guest.hold(flush: options.flushes, surveys: options.resumes)
            guard held.frozen || !mustHold else {
                throw MartletError(.unavailable, "capture: the guest did not hold its programs in time")
            }
            return true
        } catch {
            guard options.toleratesSilence else { throw error }
            logger.warning("a guest that does not answer is captured as it is", metadata: ["error": "\(error)"])
            return false
        }
    }

    /// Lets a machine go on that was stopped, and its programs held, for something that then failed.
    func letGoOn(_ machine: any Machine) async {
        try? await machine.resume()
        try? await machine.guest.release()
    }

    /// Ends a machine whose sandbox is elsewhere by now, after the answer: all it had is there, and when it is gone does
    /// not matter to anybody.
    func retire(_ sandbox: RunningSandbox) {
        owner.start { [self] in
            await dispose(sandbox.machine, sandbox.home)
            // What took its place may have taken a shell, and was no create whose end would tell.
            await signalRefill()
        }
    }

    /// Forgets that a sandbox was paused: it goes on.
    func forgetPause(_ id: SandboxID) {
        guard let sleeper = paused.removeValue(forKey: id) else { return }
        owner.start { [self] in await removeFiles(of: sleeper.capture) }
    }

    /// Removes the files of a capture that is not kept.
    func discard(_ staged: String) async {
        let store = store
        _ = try? await NIOThreadPool.singleton.runIfActive { try? store.discard(staged) }
    }

    /// Flushes and seals a capture; its staged files are gone if that fails.
    func seal(_ fresh: FreshCapture, as kind: SnapshotManifest.Kind, id: String) async throws -> StoredCapture {
        let store = store
        let manifest = fresh.manifest(kind, id: id)
        do {
            return try await NIOThreadPool.singleton.runIfActive { try store.seal(manifest, staged: fresh.staged) }
        } catch {
            throw Node.explained(error)
        }
    }

    /// One change of a sandbox at a time.
    func lock(for id: SandboxID) -> AsyncLock {
        if let lock = locks[id] { return lock }
        let lock = AsyncLock()
        // One that is not there needs none that lasts.
        if running[id] != nil || paused[id] != nil { locks[id] = lock }
        return lock
    }

    /// Checks that a stored capture is whole and fits this host.
    ///
    /// - Returns: the engine that restores it.
    func restorable(_ capture: StoredCapture) async throws -> any SandboxEngine {
        let file = capture.manifest.sandbox
        guard let engine = engines.first(where: { $0.name == file.isolation.engine }) else {
            throw MartletError(
                .failedPrecondition,
                "restore: \(capture.manifest.id): it was captured by engine \(file.isolation.engine), which is not here",
                details: ["reason": "incompatible"])
        }
        try await checkStrength(of: engine)
        let hasCard = capture.image.hasNetworkCard
        if hasCard, network == nil {
            throw MartletError(
                .failedPrecondition,
                "restore: \(capture.manifest.id): it has a network card, and there is no network: \(networkObstacle)",
                details: ["reason": "incompatible"])
        }
        let host = try await engine.compatibility(of: file.shape, hasNetworkCard: hasCard)
        if let obstacle = file.origin.compatibility.obstacle(on: host) {
            throw MartletError(
                .failedPrecondition, "restore: \(capture.manifest.id): \(obstacle)",
                details: ["reason": "incompatible"])
        }
        let store = store
        try await NIOThreadPool.singleton.runIfActive { try store.verify(capture) }
        return engine
    }
}
