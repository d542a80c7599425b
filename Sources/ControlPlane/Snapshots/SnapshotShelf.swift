import ControlStore
import Logging
import Node
import SandboxModel

/// Where snapshots are kept and how they leave: not before the last sandbox made from one is gone.
final class SnapshotShelf: Sendable {
    let snapshots = SnapshotIndex()
    private let sandboxes: SandboxIndex
    private let store: any DurableStore
    private let node: any NodeService
    private let logger: Logger
    private let removals = Turns<SnapshotID>()

    init(sandboxes: SandboxIndex, store: any DurableStore, node: any NodeService, logger: Logger) {
        self.sandboxes = sandboxes
        self.store = store
        self.node = node
        self.logger = logger
    }

    /// The record of a snapshot the caller may see.
    func find(_ idOrName: String, caller: Caller) throws(MartletError) -> SnapshotRecord {
        guard let record = snapshots.find(idOrName), caller.isAdmin || record.keyID == caller.keyID else {
            throw SnapshotShelf.notFound(idOrName)
        }
        return record
    }

    static func notFound(_ idOrName: String) -> MartletError {
        MartletError(
            .notFound, "snapshot: '\(idOrName.printable)' does not exist", details: ["snapshot": idOrName.printable])
    }

    /// Live sandboxes made from a snapshot.
    func users(of id: SnapshotID) -> [SandboxRecord] {
        sandboxes.all.filter { $0.fromSnapshot == id.rawValue && $0.state.isLive }
    }

    /// Does work for which a snapshot must stay.
    ///
    /// - Throws: `failed_precondition` when it is being deleted, `not_found` when it is gone; what the work throws.
    func holding<T>(_ id: SnapshotID, _ work: (SnapshotRecord) async throws -> T) async throws -> T {
        let record = try snapshots.pin(id)
        let outcome: Result<T, any Error>
        do {
            outcome = .success(try await work(record))
        } catch {
            outcome = .failure(error)
        }
        snapshots.unpin(id)
        await sweep()
        return try outcome.get()
    }

    /// Deletes a snapshot, now or when its last user is gone; true when it is gone.
    func delete(_ id: SnapshotID) async throws -> Bool {
        guard let record = snapshots.markDeleting(id) else { return true }
        do {
            try await shielded { [store] in try await store.update(record) }
        } catch let error as MartletError where error.code == .notFound {
            return true
        }
        guard users(of: id).isEmpty, !snapshots.isPinned(id) else { return false }
        try await remove(id)
        return true
    }

    /// Deletes snapshots nobody is told of; what fails is tried again later.
    func discard(_ ids: [SnapshotID]) async {
        for id in ids {
            do {
                _ = try await delete(id)
            } catch {
                logger.warning(
                    "removing a snapshot failed", metadata: ["snapshot.id": "\(id)", "error": "\(error)"])
            }
        }
    }

    /// Removes what was deleted and is not used any more.
    func sweep() async {
        let waiting = snapshots.unpinnedDeleting
        guard !waiting.isEmpty else { return }
        let used = Set(sandboxes.all.filter(\.state.isLive).compactMap(\.fromSnapshot))
        for record in waiting where !used.contains(record.id.rawValue) {
            do {
                try await remove(record.id)
            } catch {
                logger.warning(
                    "removing a snapshot failed", metadata: ["snapshot.id": "\(record.id)", "error": "\(error)"])
            }
        }
    }

    private func remove(_ id: SnapshotID) async throws {
        // Whoever asks for it while it is being removed waits for that, and tries itself should it fail.
        try await removals.take(id) {
            guard snapshots.record(id) != nil else { return }
            try await shielded { [node, store] in
                do {
                    try await node.removeSnapshot(id)
                } catch let error as MartletError where error.code == .notFound {}
                // A crash before this leaves a record without a snapshot, which the next start drops.
                try await store.remove(id)
            }
            drop(id)
        }
    }

    /// Forgets a snapshot that the node does not have any more.
    func forget(_ id: SnapshotID) async throws {
        try await store.remove(id)
        drop(id)
    }

    private func drop(_ id: SnapshotID) {
        let parent = snapshots.record(id)?.parent
        snapshots.remove(id)
        sandboxes.replaceCurrentSnapshot(id, by: parent)
    }
}
