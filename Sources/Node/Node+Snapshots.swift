import LinuxSystem
import Logging
import NIOPosix
import SandboxEngine
import SandboxModel

/// A snapshot on this node, or one that is being written out.
struct SnapshotEntry: Sendable {
    var info: NodeSnapshot
    /// Held while it is written out or removed.
    var lock: AsyncLock
    /// nil until it is sealed.
    var capture: StoredCapture?
    /// The base of one that is not sealed yet.
    var pendingDigest: String?

    var imageDigest: String { capture?.image.digest ?? pendingDigest ?? "" }
}

extension Node {
    package func snapshot(_ id: SandboxID, as spec: SnapshotSpec) async throws -> NodeSnapshot {
        try await lock(for: id).withLock { try await self.snapshotAlone(id, spec) }
    }

    private func snapshotAlone(_ id: SandboxID, _ spec: SnapshotSpec) async throws -> NodeSnapshot {
        guard entries[spec.id] == nil else {
            throw MartletError(.conflict, "snapshot: \(spec.id): there is one of that id")
        }
        if let sleeper = paused[id] { return try await snapshotPaused(sleeper, spec) }
        guard let sandbox = running[id] else { throw unknown(id) }
        try require(.snapshots, "snapshot", sandbox.file)
        let fresh = try await capture(sandbox, CaptureOptions(resumes: true))
        let info = try Node.snapshotInfo(fresh.manifest(.snapshot, id: spec.id.rawValue))
        let lock = await addEntry(info, fresh)
        if spec.isSealedLater {
            owner.start { [self] in
                do {
                    try await sealEntry(spec.id, fresh, lock)
                } catch {
                    logger.error("a checkpoint could not be kept", metadata: ["error": "\(error)"])
                }
            }
        } else {
            try await sealEntry(spec.id, fresh, lock)
        }
        return info
    }

    private func snapshotPaused(_ sleeper: PausedSandbox, _ spec: SnapshotSpec) async throws -> NodeSnapshot {
        let store = store
        let staged = try await NIOThreadPool.singleton.runIfActive {
            let staged = try store.stage()
            try store.linkFiles(of: sleeper.capture, into: staged)
            return staged
        }
        let manifest = sleeper.capture.manifest
        let fresh = FreshCapture(
            staged: staged, image: sleeper.capture.image, file: manifest.sandbox, report: manifest.report)
        let info = try Node.snapshotInfo(fresh.manifest(.snapshot, id: spec.id.rawValue))
        try await sealEntry(spec.id, fresh, await addEntry(info, fresh))
        return info
    }

    /// Makes a snapshot known that is yet to be sealed: whoever wants to use it waits for that.
    ///
    /// - Returns: its lock, which is held.
    private func addEntry(_ info: NodeSnapshot, _ fresh: FreshCapture) async -> AsyncLock {
        let lock = AsyncLock()
        await lock.acquire()
        entries[info.id] = SnapshotEntry(info: info, lock: lock, capture: nil, pendingDigest: fresh.image.digest)
        return lock
    }

    /// Seals a snapshot and lets go of its lock.
    private func sealEntry(_ id: SnapshotID, _ fresh: FreshCapture, _ lock: AsyncLock) async throws {
        let outcome: Result<StoredCapture, any Error>
        do {
            outcome = .success(try await seal(fresh, as: .snapshot, id: id.rawValue))
        } catch {
            outcome = .failure(error)
        }
        await finishEntry(id, try? outcome.get())
        await lock.release()
        _ = try outcome.get()
    }

    private func finishEntry(_ id: SnapshotID, _ stored: StoredCapture?) async {
        if let stored, entries[id] == nil { return await removeFiles(of: stored) }
        if let stored { entries[id]?.capture = stored } else { entries[id] = nil }
    }

    package func snapshots() -> [NodeSnapshot] { entries.values.map(\.info) }

    package func removeSnapshot(_ id: SnapshotID) async throws {
        guard let lock = entries[id]?.lock else { throw unknownSnapshot(id) }
        try await lock.withLock { try await self.removeAlone(id) }
    }

    private func removeAlone(_ id: SnapshotID) async throws {
        guard let entry = entries.removeValue(forKey: id) else { throw unknownSnapshot(id) }
        if let capture = entry.capture { await removeFiles(of: capture) }
    }

    /// Does something with a snapshot that stays there meanwhile; waits for one that is being written out.
    func withSnapshot<Value: Sendable>(
        _ id: SnapshotID, _ body: @Sendable (StoredCapture) async throws -> Value
    ) async throws -> Value {
        guard let lock = entries[id]?.lock else { throw unknownSnapshot(id) }
        return try await lock.withLock {
            guard let capture = await self.entries[id]?.capture else { throw await self.unknownSnapshot(id) }
            return try await body(capture)
        }
    }

    func unknownSnapshot(_ id: SnapshotID) -> MartletError {
        MartletError(.notFound, "snapshot: \(id): there is none of that id on this host")
    }

    package func rewind(
        _ id: SandboxID, to snapshot: SnapshotID, network: SandboxNetwork
    ) async throws -> NodeSandbox {
        try await lock(for: id).withLock {
            try await self.withSnapshot(snapshot) { try await self.rewindAlone(id, $0, network) }
        }
    }

    private func rewindAlone(
        _ id: SandboxID, _ target: StoredCapture, _ network: SandboxNetwork
    ) async throws -> NodeSandbox {
        if let file = running[id]?.file { try require(.snapshots, "rewind", file) }
        guard target.manifest.sandbox.id == id.rawValue else {
            throw MartletError(
                .failedPrecondition, "rewind: \(id): \(target.manifest.id) is a snapshot of another sandbox")
        }
        if let sleeper = paused[id] {
            let info = try await admitted {
                try await goOn(target, sleeper.capture.manifest.sandbox, network, isRewound: true)
            }
            forgetPause(id)
            return info
        }
        guard let sandbox = running[id] else { throw unknown(id) }
        // It stands still from here on, so that what it does cannot be seen outside after it was taken back.
        try await sandbox.machine.pause()
        do {
            let info = try await goOn(target, sandbox.file, network, isRewound: true)
            retire(sandbox)
            return info
        } catch {
            try? await sandbox.machine.resume()
            throw error
        }
    }

    /// A snapshot as others know it.
    ///
    /// - Throws: `internal` when its ids are none.
    static func snapshotInfo(_ manifest: SnapshotManifest) throws(MartletError) -> NodeSnapshot {
        guard let id = SnapshotID(rawValue: manifest.id), let sandbox = SandboxID(rawValue: manifest.sandbox.id) else {
            throw MartletError(.internal, "snapshot: '\(manifest.id)' is no id")
        }
        let file = manifest.sandbox
        return NodeSnapshot(
            id: id, sandbox: sandbox, template: file.template, isolation: file.isolation, shape: file.shape,
            diskMiB: file.diskMiB, report: manifest.report)
    }
}
