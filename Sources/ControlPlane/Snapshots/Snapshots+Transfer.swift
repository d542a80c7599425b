import ControlStore
import Logging
import MartletAPI
import Node
import SandboxModel

extension Snapshots {
    /// Writes a snapshot as one compressed stream, piece by piece; it is kept for as long as that takes.
    ///
    /// - Throws: `not_found`, `failed_precondition` (deleted, damaged), what `sink` throws.
    package func export(
        _ idOrName: String, caller: Caller, to sink: @escaping @Sendable ([UInt8]) async throws -> Void
    ) async throws {
        let id = try shelf.find(idOrName, caller: caller).id
        try await shelf.holding(id) { _ in try await node.exportSnapshot(id, to: sink) }
    }

    /// Tells whether a snapshot can be exported before the first byte is.
    ///
    /// - Throws: `not_found`, `failed_precondition` while it is being deleted, `unsupported` where its engine's stay on
    ///   their host.
    package func exportable(_ idOrName: String, caller: Caller) async throws -> SnapshotResource {
        let id = try shelf.find(idOrName, caller: caller).id
        let record = try await shelf.holding(id) { record in
            try await node.checkExport(of: id)
            return record
        }
        return resource(record, caller: caller)
    }

    /// Takes in a snapshot that was exported here or on another machine.
    ///
    /// - Parameter source: the next piece of the stream; nil at its end.
    /// - Throws: `permission_denied`, `invalid_argument` (name, stream), `conflict`, `resource_exhausted`, `failed_precondition`.
    @_optimize(none)  // The optimiser of Swift 6.3.1 fails on it; it spends its time waiting anyway.
    package func importSnapshot(
        name: String?, caller: Caller, from source: @escaping @Sendable () async throws -> [UInt8]?
    ) async throws -> SnapshotResource {
        guard caller.isAdmin else {
            throw MartletError(
                .permissionDenied,
                "import snapshot: this needs an administrator's key: what is imported is loaded by the virtual machine "
                    + "monitor itself")
        }
        let name = try name.map { text throws(MartletError) in try Snapshots.name(text) }
        let reservation = try reserve(name: name, caller: caller)
        do {
            let id = SnapshotID.random()
            let read = try await node.importSnapshot(as: id, from: source)
            let record = SnapshotRecord(read, keyID: caller.keyID, name: name, kind: .imported)
            try await putOnRecord(record)
            shelf.snapshots.commit(record, for: reservation)
            logger.info("snapshot imported", metadata: ["snapshot.id": "\(id)", "template": "\(record.template)"])
            return resource(record, caller: caller)
        } catch {
            shelf.snapshots.release(reservation)
            throw error
        }
    }

    /// Writes an imported snapshot down; it is gone from the node if that fails.
    private func putOnRecord(_ record: SnapshotRecord) async throws {
        do {
            try await sandboxes.store.insert(record, idempotency: nil) { nil }
        } catch {
            let (node, id) = (node, record.id)
            try? await shielded { try await node.removeSnapshot(id) }
            throw error
        }
    }
}
