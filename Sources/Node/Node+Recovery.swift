import FoundationEssentials
import GuestClient
import HostNetwork
import ImageStore
import LinuxSystem
import Logging
import NIOPosix
import SandboxEngine
import SandboxModel

extension Node {
    /// Takes over what an earlier daemon left: sandboxes go on with their processes, paused ones and snapshots stay;
    /// everything else is ended and removed. Call once, before the first create.
    package func recover() async throws {
        await loadCaptures()
        let root = "\(configuration.directory)/machines"
        let names = try await NIOThreadPool.singleton.runIfActive {
            try FileManager.default.contentsOfDirectory(atPath: root)
        }
        // Of two machines of one sandbox, which only a sudden end leaves, the one it went on in last comes first.
        let found = names.map { name in (name, try? SandboxFile.read(in: "\(root)/\(name)")) }
            .sorted { ($0.1?.generation ?? -1) > ($1.1?.generation ?? -1) }
        for (name, file) in found {
            let directory = "\(root)/\(name)"
            if let file, await adopt(directory, file) { continue }
            for engine in engines { await engine.reclaim(directory) }
            await Node.removeDirectory(directory)
            logger.info("reclaimed a machine", metadata: ["machine": "\(name)"])
        }
        let homes = Set(running.values.map(\.home.directory))
        for engine in engines { await engine.reclaimOthers(than: homes) }
        await network?.recovered()
        await collectCaptures()
    }

    private func adopt(_ directory: String, _ file: SandboxFile) async -> Bool {
        guard let info = file.sandbox(isAdopted: true, state: .running), running[info.id] == nil,
            let engine = engines.first(where: { $0.name == file.isolation.engine })
        else { return false }
        // A pause that was sealed is complete; a resume that was written down is, too.
        let pausedAt = paused[info.id]?.capture.manifest.sandbox.generation ?? -1
        guard file.generation > pausedAt else { return false }
        do {
            var base = file.base
            base.diskBytes = UInt64(file.diskMiB) << 20
            guard let machine = try await engine.adopt(base, in: directory) else { return false }
            let home = try await takeHome(directory, file, machine)
            do {
                try await machine.resume()
                _ = try await machine.guest.ping(timeout: .seconds(10))
                try await releasePrograms(machine.guest)
            } catch {
                await machine.kill()
                if let slot = home.slot { await network?.release(slot) }
                throw error
            }
            var info = info
            info.networkAddress = home.slot?.address
            if let stale = paused.removeValue(forKey: info.id) { await removeFiles(of: stale.capture) }
            register(RunningSandbox(info: info, machine: machine, home: home, file: file))
            logger.info("adopted a sandbox", metadata: ["sandbox.id": "\(info.id)"])
            return true
        } catch {
            logger.warning("could not adopt a sandbox", metadata: ["sandbox.id": "\(info.id)", "error": "\(error)"])
            return false
        }
    }

    /// Takes over the slot of a machine that goes on, and puts its policy in force again. Where that cannot be done the
    /// machine is ended: nobody could say what it reaches, nor change it.
    private func takeHome(
        _ directory: String, _ file: SandboxFile, _ machine: any Machine
    ) async throws -> MachineHome {
        guard file.base.hasNetworkCard else { return MachineHome(directory: directory) }
        var taken: NetworkSlot?
        do {
            guard let index = file.slot, let id = SandboxID(rawValue: file.id) else {
                throw MartletError(.internal, "adopt: it is not written down which slot it has")
            }
            let slot = try await requiredNetwork().adopt(index: index, process: machine.pid)
            taken = slot
            try await slot.apply(SandboxNetwork(policy: file.policy ?? .closed), onDenial: teller(of: id))
            return MachineHome(directory: directory, slot: slot)
        } catch {
            await machine.kill()
            if let taken { await network?.release(taken) }
            throw error
        }
    }

    /// Lets programs go on that a capture, cut off by the daemon's end, has left held. An agent from before there were
    /// captures knows nothing of it, and has nothing to let go.
    private func releasePrograms(_ guest: GuestConnection) async throws {
        do {
            try await guest.release()
        } catch let error as MartletError where error.code == .unsupported {
            logger.debug("the guest's agent is older than captures")
        }
    }

    /// Finds paused sandboxes and snapshots.
    private func loadCaptures() async {
        let (store, logger) = (store, logger)
        let found = try? await NIOThreadPool.singleton.runIfActive {
            func load(_ kind: SnapshotManifest.Kind) -> [StoredCapture] {
                store.load(kind) { name, error in
                    logger.error("a capture cannot be used", metadata: ["capture": "\(name)", "error": "\(error)"])
                }
            }
            return (load(.pause), load(.snapshot))
        }
        guard let (pauses, snapshots) = found else { return }
        for capture in pauses {
            guard let info = capture.manifest.sandbox.sandbox(isAdopted: true, state: .paused) else { continue }
            paused[info.id] = PausedSandbox(info: info, capture: capture)
        }
        for capture in snapshots {
            guard let info = try? Node.snapshotInfo(capture.manifest) else { continue }
            entries[info.id] = SnapshotEntry(info: info, lock: AsyncLock(), capture: capture)
        }
    }

    /// Removes half-made captures, and bases nothing stands on any more. Only while nothing is being captured.
    private func collectCaptures() async {
        let (store, used) = (store, usedBases)
        _ = try? await NIOThreadPool.singleton.runIfActive { store.collect(keeping: used) }
    }

    private var usedBases: Set<String> {
        Set(
            running.values.map(\.imageDigest) + paused.values.map(\.imageDigest)
                + entries.values.map(\.imageDigest))
    }

    /// Removes bases made for the children of a fork once the last of them is gone; not while others are being made.
    func collectMergedBases() {
        guard makingBases == 0 else { return }
        // Looked at and put aside in one step: nobody can begin to stand on one in between.
        store.bases.putAsideMerged(keeping: usedBases)
        owner.start { [store] in
            _ = try? await NIOThreadPool.singleton.runIfActive { store.bases.removeAside() }
        }
    }

    func removeFiles(of capture: StoredCapture) async {
        let (store, logger) = (store, logger)
        _ = try? await NIOThreadPool.singleton.runIfActive {
            do {
                try store.remove(capture)
            } catch {
                logger.error("removing a capture failed", metadata: ["error": "\(error)"])
            }
        }
    }
}
