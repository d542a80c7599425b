import ControlStore
import Crypto
import FoundationEssentials
import Logging
import MartletAPI
import Node
import SandboxModel

/// Snapshots and what is made from them: taken, found, deleted, forked, moved between machines; and the checkpoints of
/// recording sandboxes.
///
/// Whoever asks for a snapshot owns it: to another key it does not exist. A checkpoint belongs to its sandbox's owner.
package struct Snapshots: Sendable {
    let sandboxes: Sandboxes
    let events: Events
    let logger: Logger

    var shelf: SnapshotShelf { sandboxes.shelf }
    var node: any NodeService { sandboxes.node }
    var configuration: ControlPlaneConfiguration { sandboxes.configuration }

    /// Captures a sandbox that runs or is paused; a running one goes on. With an idempotency key the same request
    /// captures it once.
    ///
    /// - Throws: `invalid_argument`, `not_found`, `conflict` (name, key), `failed_precondition`, `resource_exhausted`,
    ///   and what the node throws.
    package func create(
        _ sandbox: String, _ request: CreateSnapshotRequest, idempotencyKey: String?, caller: Caller
    ) async throws -> SnapshotResource {
        let id = try sandboxes.find(sandbox, caller: caller).id
        let name = try request.name.map { text throws(MartletError) in try Snapshots.name(text) }
        let plan = CapturePlan(
            kind: .snapshot, keyID: caller.keyID, name: name,
            metadata: try MetadataCheck.checked(request.metadata ?? [:]))
        guard let idempotencyKey else { return try await take(id, plan, caller: caller) }
        let key = try IdempotencyGate.checked(idempotencyKey)
        let outcome = try await sandboxes.gate.once(
            keyID: caller.keyID, key: key, requestHash: try Snapshots.fingerprint(id, request)
        ) { draft in
            var plan = plan
            plan.idempotency = draft
            return try await take(id, plan, caller: caller)
        }
        switch outcome {
        case .now(let snapshot): return snapshot
        case .before(let made):
            guard let record = shelf.snapshots.find(made) else {
                throw MartletError(
                    .conflict, "take snapshot: this idempotency key made \(made), which is gone; use a new key",
                    details: ["snapshot": made])
            }
            return resource(record, caller: caller)
        }
    }

    private func take(_ id: SandboxID, _ plan: CapturePlan, caller: Caller) async throws -> SnapshotResource {
        var plan = plan
        let reservation = try reserve(name: plan.name, caller: caller)
        plan.reservation = reservation
        do {
            let prepared = plan
            let record = try await sandboxes.turns.take(id) { try await sandboxes.capture(id, prepared) }
            let details = [
                "snapshot": record.id.rawValue, "name": record.name,
                "pause_ms": "\(record.capture.pauseMilliseconds)",
            ].compactMapValues { $0 }
            events.note(id, "snapshot", "snapshot \(record.name ?? record.id.rawValue) taken", details)
            return resource(record, caller: caller)
        } catch {
            shelf.snapshots.release(reservation)
            throw error
        }
    }

    /// Keeps a place for a snapshot of the caller's.
    func reserve(name: String?, caller: Caller) throws(MartletError) -> Reservation {
        try shelf.snapshots.reserve(
            keyID: caller.keyID, name: name, limit: caller.keyID == nil ? nil : configuration.maxSnapshotsPerKey)
    }

    /// Checks a snapshot's name: it must not be taken for an id, or for a part of a path.
    static func name(_ text: String) throws(MartletError) -> String {
        let name = try SandboxName.parse(text, field: "name").rawValue
        guard SnapshotID(rawValue: name) == nil, SandboxID(rawValue: name) == nil else {
            throw .invalid("name", "must not look like an id")
        }
        guard name != "import" else { throw .invalid("name", "'import' is a word of the API") }
        return name
    }

    private static func fingerprint(_ id: SandboxID, _ request: CreateSnapshotRequest) throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        return Array(SHA256.hash(data: Data("snapshot \(id) ".utf8) + (try encoder.encode(request))))
    }

    // MARK: Finding

    /// One snapshot, by id or name.
    ///
    /// - Throws: `not_found`.
    package func get(_ idOrName: String, caller: Caller) throws(MartletError) -> SnapshotResource {
        resource(try shelf.find(idOrName, caller: caller), caller: caller)
    }

    /// The snapshots a caller may see, newest first, a page at a time.
    ///
    /// - Throws: `invalid_argument` for a cursor or limit that is none.
    package func list(_ filter: SnapshotFilter, caller: Caller) throws(MartletError) -> Page<SnapshotResource> {
        let sandbox = filter.sandbox.map { (try? sandboxes.find($0, caller: caller))?.id.rawValue ?? $0 }
        let visible = shelf.snapshots.all
            .filter { caller.isAdmin || $0.keyID == caller.keyID }
            .filter { sandbox == nil || $0.sandbox.rawValue == sandbox }
        return try Page.newestFirst(
            visible.filter(filter.matches), limit: filter.limit, after: filter.cursor,
            isID: { SnapshotID(rawValue: $0) != nil },
            position: { ListPosition(createdAt: $0.createdAt, id: $0.id.rawValue) },
            item: { listed($0, caller: caller) })
    }

    /// The checkpoints of a recording sandbox, oldest first.
    package func checkpoints(_ sandbox: String, caller: Caller) throws(MartletError) -> Page<SnapshotResource> {
        let id = try sandboxes.find(sandbox, caller: caller).id
        return Page(
            items: shelf.snapshots.checkpoints(of: id).map { listed($0, caller: caller) }, nextCursor: nil)
    }

    /// The family of a sandbox, as far as the caller may see it.
    package func tree(_ sandbox: String, caller: Caller) throws(MartletError) -> TreeResource {
        let record = try sandboxes.find(sandbox, caller: caller)
        let isVisible = { (keyID: String?) in caller.isAdmin || keyID == caller.keyID }
        let tree = LineageTree(
            sandboxes: sandboxes.index.all.filter { isVisible($0.keyID) },
            snapshots: shelf.snapshots.all.filter { isVisible($0.keyID) })
        return TreeResource(nodes: tree.family(of: record))
    }

    /// The record as a caller sees it: of its users, those the caller may see.
    func resource(_ record: SnapshotRecord, caller: Caller) -> SnapshotResource {
        let users = shelf.users(of: record.id).filter { caller.isAdmin || $0.keyID == caller.keyID }
        return SnapshotResource(record, inUseBy: users.map(\.id))
    }

    /// The record as one of several: without what may be long.
    private func listed(_ record: SnapshotRecord, caller: Caller) -> SnapshotResource {
        var listed = resource(record, caller: caller)
        listed.network = nil
        return listed
    }

    /// Replaces a snapshot's labels.
    ///
    /// - Throws: `invalid_argument`, `not_found`.
    package func setMetadata(
        _ metadata: [String: String], of idOrName: String, caller: Caller
    ) async throws -> SnapshotResource {
        let metadata = try MetadataCheck.checked(metadata)
        let id = try shelf.find(idOrName, caller: caller).id
        guard let record = shelf.snapshots.change(id, { $0.metadata = metadata }) else {
            throw SnapshotShelf.notFound(idOrName)
        }
        try await sandboxes.store.update(record)
        return resource(record, caller: caller)
    }

    // MARK: Deleting

    /// Deletes a snapshot: nothing new is made from it and its name is free from now on.
    ///
    /// - Returns: nil when it is gone; else the snapshot, which goes when the last sandbox made from it is gone.
    /// - Throws: `not_found`.
    package func delete(_ idOrName: String, caller: Caller) async throws -> SnapshotResource? {
        let record = try shelf.find(idOrName, caller: caller)
        if try await shelf.delete(record.id) { return nil }
        return shelf.snapshots.record(record.id).map { resource($0, caller: caller) }
    }
}
