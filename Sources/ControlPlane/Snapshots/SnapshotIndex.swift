import ControlStore
import SandboxModel
import Synchronization

/// Every snapshot of this control plane, in memory. The store holds the same, durable.
///
/// What is being made from a snapshot, or read from it, pins it; one that is to go leaves when nothing pins it and no
/// sandbox made from it is left.
final class SnapshotIndex: Sendable {
    private struct State {
        var records: [SnapshotID: SnapshotRecord] = [:]
        var pins: [SnapshotID: Int] = [:]
        var reservations = Reservations()
    }

    private let state = Mutex(State())

    /// Keeps a place. Checkpoints need none: they are bounded per sandbox.
    ///
    /// - Throws: `conflict` when the name is taken, `resource_exhausted` when the key has `limit` snapshots.
    func reserve(keyID: String?, name: String?, limit: Int?) throws(MartletError) -> Reservation {
        try state.withLock { state throws(MartletError) in
            let records = state.records.values
            return try state.reservations.reserve(
                Reservation(keyID: keyID, name: name), limit: limit,
                inUse: records.count { $0.keyID == keyID && !$0.isDeleting && $0.kind != .checkpoint },
                isNameTaken: name != nil && records.contains { $0.name == name && !$0.isDeleting },
                doing: "take snapshot", things: "snapshots")
        }
    }

    /// Gives a kept place back.
    func release(_ reservation: Reservation) {
        state.withLock { $0.reservations.release(reservation) }
    }

    /// Puts a snapshot in its kept place, if it needed one.
    func commit(_ record: SnapshotRecord, for reservation: Reservation?) {
        state.withLock { state in
            if let reservation { state.reservations.release(reservation) }
            state.records[record.id] = record
        }
    }

    func record(_ id: SnapshotID) -> SnapshotRecord? { state.withLock { $0.records[id] } }

    /// Changes a record in place; returns it, or nil when it is not there.
    func change(_ id: SnapshotID, _ body: (inout SnapshotRecord) -> Void) -> SnapshotRecord? {
        state.withLock { state in
            guard var record = state.records[id] else { return nil }
            body(&record)
            state.records[id] = record
            return record
        }
    }

    /// Finds by id, or else by name among those that are not being deleted.
    func find(_ idOrName: String) -> SnapshotRecord? {
        state.withLock { state in
            if let id = SnapshotID(rawValue: idOrName), let record = state.records[id] { return record }
            return state.records.values.first { $0.name == idOrName && !$0.isDeleting }
        }
    }

    var all: [SnapshotRecord] { state.withLock { Array($0.records.values) } }

    /// The checkpoints of a sandbox that can be used, oldest first.
    func checkpoints(of sandbox: SandboxID) -> [SnapshotRecord] {
        state.withLock { state in
            state.records.values
                .filter { $0.sandbox == sandbox && $0.kind == .checkpoint && !$0.isDeleting }
                .sorted { ($0.number ?? 0) < ($1.number ?? 0) }
        }
    }

    // MARK: Being used and leaving

    /// Keeps a snapshot from being removed until `unpin`.
    ///
    /// - Throws: `failed_precondition` when it is being deleted, `not_found` when it is gone.
    func pin(_ id: SnapshotID) throws(MartletError) -> SnapshotRecord {
        try state.withLock { state throws(MartletError) in
            guard let record = state.records[id] else { throw SnapshotShelf.notFound(id.rawValue) }
            guard !record.isDeleting else {
                throw MartletError(
                    .failedPrecondition,
                    "snapshot: \(id): it was deleted and is only kept for the sandboxes made from it",
                    details: ["snapshot": id.rawValue, "state": "deleting"])
            }
            state.pins[id, default: 0] += 1
            return record
        }
    }

    /// Whether something is being made from it, or read from it.
    func isPinned(_ id: SnapshotID) -> Bool { state.withLock { $0.pins[id] != nil } }

    func unpin(_ id: SnapshotID) {
        state.withLock { state in
            let left = state.pins[id, default: 0] - 1
            state.pins[id] = left > 0 ? left : nil
        }
    }

    /// Says that a snapshot is to go: nothing new is made from it, and its name is free. Returns it; nil if it is gone.
    func markDeleting(_ id: SnapshotID) -> SnapshotRecord? {
        state.withLock { state in
            state.records[id]?.isDeleting = true
            return state.records[id]
        }
    }

    /// Those that are to go and that nothing pins. As they take no new users, whoever has none now will have none.
    var unpinnedDeleting: [SnapshotRecord] {
        state.withLock { state in
            state.records.values.filter { $0.isDeleting && state.pins[$0.id] == nil }
        }
    }

    /// Forgets a snapshot; what stood on it stands on its parent.
    func remove(_ id: SnapshotID) {
        state.withLock { state in
            guard let removed = state.records.removeValue(forKey: id) else { return }
            for (other, record) in state.records where record.parent == id {
                state.records[other]?.parent = removed.parent
            }
        }
    }
}
