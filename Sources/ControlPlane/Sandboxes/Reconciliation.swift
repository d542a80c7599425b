import ControlStore
import Logging
import Metrics
import Node
import SandboxModel

/// Makes the record and the node agree after a restart: what runs and is on record goes on with its deadline, what is
/// on record but gone has failed, what runs without a record (a create that was cut off) is ended.
struct Reconciliation: Sendable {
    let configuration: ControlPlaneConfiguration
    let store: any DurableStore
    let node: any NodeService
    let index: SandboxIndex
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
        let known = Set(records.filter(\.state.isLive).map(\.id))
        let orphans = machines.keys.filter { !known.contains($0) }
        for id in orphans { await destroyOrphan(id) }
        guard !records.isEmpty || !orphans.isEmpty else { return }
        logger.info(
            "sandboxes taken over",
            metadata: [
                "adopted": "\(index.counts[.running, default: 0])", "failed": "\(index.counts[.failed, default: 0])",
                "orphans": "\(orphans.count)",
            ])
    }

    private func adopt(_ record: SandboxRecord, _ machine: NodeSandbox) async throws {
        var record = record
        if record.state != .running || record.isolation != machine.isolation {
            record.state = .running
            record.reason = nil
            record.isolation = machine.isolation
            try await store.update(record)
        }
        index.adopt(record)
        events.note(record.id, "adopted", "taken over by a new daemon")
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
}
