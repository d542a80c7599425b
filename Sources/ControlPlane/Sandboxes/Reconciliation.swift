import ControlStore
import Logging
import Metrics
import Node
import SandboxModel

/// Makes the record and the node agree after a restart. Sandboxes: what runs or is paused and is on record goes on,
/// what is on record but gone has failed, what is there without a record (a create that was cut off) is ended.
/// Snapshots: what is on record but gone is forgotten, what is there without a record is removed, and so is what was
/// deleted and has no user left.
struct Reconciliation: Sendable {
    let configuration: ControlPlaneConfiguration
    let store: any DurableStore
    let node: any NodeService
    let index: SandboxIndex
    let shelf: SnapshotShelf
    let networks: Networks
    let events: Events
    let logger: Logger

    func run() async throws {
        let records = try await store.sandboxes()
        let machines = Dictionary(
            await node.sandboxes().map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
        for record in records {
            if let machine = machines[record.id], record.state.isLive {
                try await adopt(record, machine)
            } else {
                try await lose(record)
            }
        }
        await withTaskGroup(of: Void.self) { group in
            // All at once: a guest may take its time, and none is to hold up the start for the others.
            for record in index.all where record.state == .running { group.addTask { await giveNetwork(record) } }
        }
        let known = Set(records.filter(\.state.isLive).map(\.id))
        let orphans = machines.keys.filter { !known.contains($0) }
        for id in orphans { await destroyOrphan(id) }
        try await reconcileSnapshots()
        guard !records.isEmpty || !orphans.isEmpty else { return }
        let counts = index.counts
        logger.info(
            "sandboxes taken over",
            metadata: [
                "adopted": "\(counts[.running, default: 0])", "paused": "\(counts[.paused, default: 0])",
                "failed": "\(counts[.failed, default: 0])", "orphans": "\(orphans.count)",
            ])
    }

    /// Goes on with a sandbox as the node has it, whatever step it was at when the daemon ended.
    private func adopt(_ record: SandboxRecord, _ machine: NodeSandbox) async throws {
        var adopted = record
        adopted.state = machine.state == .paused ? .paused : .running
        adopted.isolation = machine.isolation
        if adopted.state == .paused {
            adopted.pausedAt = record.pausedAt ?? .now
        } else if record.pausedAt != nil {
            adopted.goesOn(as: machine, timeout: nil)
        }
        if adopted.state != record.state { adopted.reason = nil }
        if adopted != record { try await store.update(adopted) }
        index.adopt(adopted)
        let difference =
            adopted.state == record.state ? [:] : ["from": record.state.rawValue, "to": adopted.state.rawValue]
        events.note(record.id, "adopted", "taken over by a new daemon", difference)
    }

    /// Tells the node what a running sandbox may reach: it is not the node that remembers. What cannot be told leaves
    /// the sandbox without a network.
    private func giveNetwork(_ record: SandboxRecord) async {
        do {
            try await node.setNetwork(of: record.id, try await networks.network(of: record))
        } catch let error as MartletError where error.code == .unsupported && record.isOffline {
            // It has no network card, and needs none.
        } catch {
            let problem = "its network is closed: \((error as? MartletError)?.message ?? "\(error)")".printable(400)
            networks.setProblem(record.id, problem)
            events.note(record.id, "network_closed", problem)
            logger.error(
                "giving a sandbox its network back failed",
                metadata: ["sandbox.id": "\(record.id)", "error": "\(error)"])
            try? await node.setNetwork(of: record.id, .closed)
        }
    }

    private func lose(_ record: SandboxRecord) async throws {
        var record = record
        if record.state.isLive {
            events.note(
                record.id, "state", "its machine was gone when the daemon started",
                ["from": record.state.rawValue, "to": SandboxState.failed.rawValue])
            record.state = .failed
            record.reason = "lost: its machine was gone when the daemon started"
            record.expiresAt = .now.adding(seconds: Int64(configuration.failedRetentionSeconds))
            try await store.update(record)
            Counter(label: "reclaim_total", dimensions: [("kind", "lost")]).increment()
        }
        index.adopt(record)
    }

    private func destroyOrphan(_ id: SandboxID) async {
        do {
            try await node.destroy(id)
            Counter(label: "reclaim_total", dimensions: [("kind", "orphan")]).increment()
        } catch {
            logger.error(
                "ending a machine without a record failed", metadata: ["sandbox.id": "\(id)", "error": "\(error)"])
        }
    }

    // MARK: Snapshots

    private func reconcileSnapshots() async throws {
        let records = try await store.snapshots()
        let present = Set(await node.snapshots().map(\.id))
        for record in records { shelf.snapshots.commit(record, for: nil) }
        for record in records where !present.contains(record.id) {
            logger.warning(
                "a snapshot is gone and was forgotten",
                metadata: ["snapshot.id": "\(record.id)", "kind": "\(record.kind.rawValue)"])
            try await shelf.forget(record.id)
        }
        // A sandbox that ended takes its checkpoints with it; the daemon may have been stopped half-way.
        let stray = shelf.snapshots.all.filter { $0.kind == .checkpoint && index.record($0.sandbox) == nil }
        await shelf.discard(stray.map(\.id))
        await shelf.sweep()
        for id in present.subtracting(records.map(\.id)) {
            do {
                try await node.removeSnapshot(id)
                Counter(label: "reclaim_total", dimensions: [("kind", "snapshot")]).increment()
            } catch {
                logger.error(
                    "removing a snapshot without a record failed",
                    metadata: ["snapshot.id": "\(id)", "error": "\(error)"])
            }
        }
    }
}

extension SandboxRecord {
    /// Whether it has no use for a network.
    fileprivate var isOffline: Bool { network.mode == .none && secrets == nil }
}
