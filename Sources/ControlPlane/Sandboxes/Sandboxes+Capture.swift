import ControlStore
import LinuxSystem
import Logging
import Metrics
import Node
import SandboxModel

/// What a capture is to be kept as.
struct CapturePlan: Sendable {
    var kind: SnapshotKind
    /// Whom the snapshot belongs to.
    var keyID: String?
    var name: String?
    var metadata: [String: String] = [:]
    var idempotency: IdempotencyRecord.Draft?
    /// The place kept for it; a checkpoint has none.
    var reservation: Reservation?
}

extension Sandboxes {
    /// Captures a sandbox that runs or is paused. To be called in its turn; carried through once begun.
    func capture(_ id: SandboxID, _ plan: CapturePlan) async throws -> SnapshotRecord {
        let states: [SandboxState] = plan.kind == .checkpoint ? [.running] : [.running, .paused]
        guard let state = index.record(id)?.state, states.contains(state) else {
            throw wrongState("take snapshot", id)
        }
        let spec = SnapshotSpec(id: .random(), isSealedLater: plan.kind == .checkpoint)
        return try await shielded { [self] in
            let taken = try await node.snapshot(id, as: spec)
            do {
                return try await keep(taken, of: id, plan)
            } catch {
                try? await node.removeSnapshot(spec.id)
                throw error
            }
        }
    }

    /// Puts a snapshot on record, together with the sandbox that now stands on it.
    private func keep(_ taken: NodeSnapshot, of id: SandboxID, _ plan: CapturePlan) async throws -> SnapshotRecord {
        let isCheckpoint = plan.kind == .checkpoint
        let changed = index.change(id) { record in
            record.currentSnapshot = taken.id
            if isCheckpoint { record.nextCheckpoint += 1 }
        }
        guard let before = changed?.before else { throw Sandboxes.notFound(id.rawValue) }
        var snapshot = SnapshotRecord(
            taken, keyID: plan.keyID, name: plan.name, kind: plan.kind,
            number: isCheckpoint ? before.nextCheckpoint : nil, parent: before.currentSnapshot, metadata: plan.metadata)
        snapshot.network = before.network
        do {
            try await store.insert(
                snapshot, idempotency: plan.idempotency?.record(snapshot.id.rawValue, at: snapshot.createdAt)
            ) { [index] in index.record(id) }
        } catch {
            _ = index.change(id) { record in
                record.currentSnapshot = before.currentSnapshot
                record.nextCheckpoint = before.nextCheckpoint
            }
            throw error
        }
        shelf.snapshots.commit(snapshot, for: plan.reservation)
        return snapshot
    }

    /// Keeps a checkpoint of a recording sandbox; nil when that failed, which is in its history then.
    func checkpoint(_ id: SandboxID) async -> (number: Int, milliseconds: Double)? {
        let stopwatch = Stopwatch()
        do {
            let taken = try await turns.take(id) {
                try await capture(id, CapturePlan(kind: .checkpoint, keyID: index.record(id)?.keyID))
            }
            let number = taken.number ?? 0
            events.note(
                id, "checkpoint", "checkpoint \(number) taken",
                [
                    "number": "\(number)", "snapshot": taken.id.rawValue,
                    "pause_ms": "\(taken.capture.pauseMilliseconds)", "bytes": "\(taken.storedBytes)",
                ])
            await trimCheckpoints(of: id)
            let milliseconds = stopwatch.totalMilliseconds
            Timer(label: "sandbox_checkpoint_duration_seconds").recordMilliseconds(milliseconds)
            return (number, milliseconds)
        } catch is CancellationError {
            return nil
        } catch {
            Counter(label: "sandbox_checkpoint_failures_total", dimensions: [("code", error.metricCode)]).increment()
            events.note(id, "checkpoint_failed", "no checkpoint was taken: \(error)".printable(300))
            logger.warning("taking a checkpoint failed", metadata: ["sandbox.id": "\(id)", "error": "\(error)"])
            return nil
        }
    }

    /// Lets the oldest checkpoints go when there are too many, or they take too much; the newest one stays.
    private func trimCheckpoints(of id: SandboxID) async {
        let checkpoints = shelf.snapshots.checkpoints(of: id)
        var bytes = checkpoints.reduce(UInt64(0)) { $0 &+ $1.storedBytes }
        var surplus: [SnapshotID] = []
        for (place, checkpoint) in checkpoints.dropLast().enumerated() {
            let left = checkpoints.count - place
            guard left > configuration.maxCheckpoints || bytes > configuration.maxCheckpointBytes else { break }
            surplus.append(checkpoint.id)
            bytes -= checkpoint.storedBytes
        }
        await shelf.discard(surplus)
    }
}
