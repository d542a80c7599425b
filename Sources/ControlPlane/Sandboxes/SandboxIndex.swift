import ControlStore
import SandboxModel
import Synchronization

/// Every sandbox of this control plane, in memory: what requests are checked against. The store holds the same, durable.
///
/// Reserving a place (name and count) and taking it are two steps around the making of the machine, so that a name or
/// a limit can never be overrun by creates that run side by side.
final class SandboxIndex: Sendable {
    private struct State {
        var records: [SandboxID: SandboxRecord] = [:]
        var reservations = Reservations()
    }

    private let state = Mutex(State())

    /// Keeps a place.
    ///
    /// - Throws: `conflict` when the name is taken, `resource_exhausted` when the key has `limit` sandboxes.
    func reserve(keyID: String?, name: String?, limit: Int?) throws(MartletError) -> Reservation {
        try state.withLock { state throws(MartletError) in
            let records = state.records.values
            return try state.reservations.reserve(
                Reservation(keyID: keyID, name: name), limit: limit,
                inUse: records.count { $0.keyID == keyID && $0.state.isLive },
                isNameTaken: name != nil && records.contains { $0.name == name && $0.state.isLive },
                doing: "create sandbox", things: "sandboxes")
        }
    }

    /// Gives a kept place back.
    func release(_ reservation: Reservation) {
        state.withLock { $0.reservations.release(reservation) }
    }

    /// Puts a sandbox in its kept place.
    func commit(_ record: SandboxRecord, for reservation: Reservation) {
        state.withLock { state in
            state.reservations.release(reservation)
            state.records[record.id] = record
        }
    }

    /// Takes up a sandbox that is there already.
    func adopt(_ record: SandboxRecord) {
        state.withLock { $0.records[record.id] = record }
    }

    func record(_ id: SandboxID) -> SandboxRecord? { state.withLock { $0.records[id] } }

    /// Finds by id, or else by name among the live ones, or else the newest dead one of that name.
    func find(_ idOrName: String) -> SandboxRecord? {
        state.withLock { state in
            if let id = SandboxID(rawValue: idOrName), let record = state.records[id] { return record }
            let named = state.records.values.filter { $0.name == idOrName }
            return named.first { $0.state.isLive } ?? named.max { $0.createdAt < $1.createdAt }
        }
    }

    var all: [SandboxRecord] { state.withLock { Array($0.records.values) } }

    /// Changes a record in place; returns it before and after, or nil when it is not there.
    func change<Failure: Error>(
        _ id: SandboxID, _ body: (inout SandboxRecord) throws(Failure) -> Void
    ) throws(Failure) -> (before: SandboxRecord, after: SandboxRecord)? {
        try state.withLock { state throws(Failure) in
            guard let before = state.records[id] else { return nil }
            var after = before
            try body(&after)
            state.records[id] = after
            return (before, after)
        }
    }

    /// Takes the step to `next` if the state machine has it; returns the record as it was, or nil if not taken.
    func step(_ id: SandboxID, to next: SandboxState, reason: String? = nil) -> SandboxRecord? {
        state.withLock { state in
            guard var record = state.records[id], record.state.canBecome(next) else { return nil }
            let before = record
            record.state = next
            record.reason = reason
            state.records[id] = record
            return before
        }
    }

    /// Takes several steps at once, as one that nobody sees the middle of, and changes the record with them. Returns it
    /// before and after, or nil if one of the steps is none.
    @discardableResult
    func step(
        _ id: SandboxID, through steps: SandboxState..., change: (inout SandboxRecord) -> Void = { _ in }
    ) -> (before: SandboxRecord, after: SandboxRecord)? {
        state.withLock { state in
            guard let before = state.records[id] else { return nil }
            var after = before
            for next in steps {
                guard after.state.canBecome(next) else { return nil }
                after.state = next
            }
            after.reason = nil
            change(&after)
            state.records[id] = after
            return (before, after)
        }
    }

    /// What came from a snapshot that is gone comes from its parent.
    func replaceCurrentSnapshot(_ id: SnapshotID, by parent: SnapshotID?) {
        state.withLock { state in
            for (sandbox, record) in state.records where record.currentSnapshot == id {
                state.records[sandbox]?.currentSnapshot = parent
            }
        }
    }

    func remove(_ id: SandboxID) {
        _ = state.withLock { $0.records.removeValue(forKey: id) }
    }

    /// The earliest moment a sandbox is to be ended, paused or forgotten. Paused ones have none, nor those on their way.
    var earliestDeadline: Timestamp? {
        state.withLock { state in
            state.records.values.lazy.filter(\.state.hasDeadline).map(\.expiresAt).min()
        }
    }

    /// Sandboxes whose time has come.
    func due(at now: Timestamp) -> [SandboxRecord] {
        state.withLock { state in state.records.values.filter { $0.state.hasDeadline && $0.expiresAt <= now } }
    }

    /// How many sandboxes are in each state.
    var counts: [SandboxState: Int] {
        state.withLock { state in
            state.records.values.reduce(into: [:]) { $0[$1.state, default: 0] += 1 }
        }
    }
}

extension SandboxState {
    /// Whether `expiresAt` means anything in this state.
    fileprivate var hasDeadline: Bool { self == .running || self == .failed }
}
