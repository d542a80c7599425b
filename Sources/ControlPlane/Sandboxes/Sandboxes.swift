import ControlStore
import Logging
import MartletAPI
import Node
import SandboxModel
import Synchronization

/// The life of sandboxes: made, found, changed, ended.
///
/// Every call checks who asks: a sandbox of another key is `not_found`, as if it were not there.
package final class Sandboxes: Sendable {
    let configuration: ControlPlaneConfiguration
    let store: any DurableStore
    let node: any NodeService
    let index: SandboxIndex
    let events: Events
    let gate: IdempotencyGate
    let shelf: SnapshotShelf
    let networks: Networks
    let templates: TemplateIndex
    let denials: Denials
    let traffic: Traffic
    /// One step at a time per sandbox: pauses, resumes, captures, forks, rewinds, its end.
    let turns = Turns<SandboxID>()
    /// Sandboxes being resumed because a request needs them.
    let waking = SharedWork<SandboxID>()
    /// What can be reached from outside.
    let publishedPorts = PublishedPorts()
    let logger: Logger
    /// Processes of recording sandboxes after whose end a checkpoint was taken.
    let recordedEnds = Mutex<[SandboxID: Set<Int32>]>([:])
    /// Told when a deadline may have become earlier.
    let deadlinesChanged = BoundedChannel<Void>(capacity: 1)

    init(
        configuration: ControlPlaneConfiguration, store: any DurableStore, node: any NodeService, index: SandboxIndex,
        shelf: SnapshotShelf, networks: Networks, templates: TemplateIndex, events: Events, logger: Logger
    ) {
        self.configuration = configuration
        self.store = store
        self.node = node
        self.index = index
        self.shelf = shelf
        self.events = events
        self.logger = logger
        gate = IdempotencyGate(store: store)
        self.networks = networks
        self.templates = templates
        denials = Denials(events: events)
        traffic = Traffic(index: index) { id in try? await node.networkCounters(of: id) }
    }

    /// One sandbox, by id or name.
    ///
    /// - Throws: `not_found`.
    package func get(_ idOrName: String, caller: Caller) throws(MartletError) -> SandboxResource {
        SandboxResource(try find(idOrName, caller: caller))
    }

    /// The record of a sandbox the caller may see.
    func find(_ idOrName: String, caller: Caller) throws(MartletError) -> SandboxRecord {
        guard let record = index.find(idOrName), caller.isAdmin || record.keyID == caller.keyID else {
            throw Sandboxes.notFound(idOrName)
        }
        return record
    }

    static func notFound(_ idOrName: String) -> MartletError {
        MartletError(
            .notFound, "sandbox: '\(idOrName.printable)' does not exist", details: ["sandbox": idOrName.printable])
    }

    /// Makes sure that a sandbox's engine can do something.
    ///
    /// - Throws: `unsupported`, naming the engine and what to choose instead.
    private func require(
        _ capability: EngineCapability, _ action: String, _ record: SandboxRecord
    ) async throws {
        let engines = await node.report().engines
        guard let engine = engines.first(where: { $0.name == record.isolation.engine }) else { return }
        guard engine.capabilities.contains(capability) else {
            throw MartletError.unsupported(capability, action, record.id.rawValue, engine: engine.name)
        }
    }

    /// Changes time-out (counted from now, or from when it is resumed), what becomes of it then, and labels (replaced as
    /// a whole).
    ///
    /// - Throws: `invalid_argument`, `not_found`, `failed_precondition` when it neither runs nor is paused.
    package func update(
        _ idOrName: String, _ request: UpdateSandboxRequest, caller: Caller
    ) async throws -> SandboxResource {
        let found = try find(idOrName, caller: caller)
        let id = found.id
        if request.onTimeout == .pause { try await require(.pause, "update sandbox", found) }
        let metadata = try request.metadata.map { value throws(MartletError) in try MetadataCheck.checked(value) }
        let timeout = try request.timeoutSeconds.map { value throws(MartletError) in
            try CreatePlan.timeout(value, configuration: configuration)
        }
        let changed = try index.change(id) { record throws(MartletError) in
            guard [.running, .pausing, .paused, .resuming].contains(record.state) else {
                throw MartletError(
                    .failedPrecondition,
                    "update sandbox: \(id): it is \(record.state.rawValue), neither running nor paused")
            }
            if let metadata { record.metadata = metadata }
            if let action = request.onTimeout { record.onTimeout = action }
            if let timeout {
                record.timeoutSeconds = timeout
                record.expiresAt = .now.adding(seconds: Int64(timeout))
            }
        }
        guard let changed else { throw Sandboxes.notFound(idOrName) }
        do {
            try await store.updateLatest { [index] in index.record(id) }
        } catch {
            // Memory must not promise what the disk does not hold; a later change of someone else's stays.
            _ = index.change(id) { record in
                if record == changed.after { record = changed.before }
            }
            throw error
        }
        deadlinesChanged.offer(())
        if let timeout {
            let what = changed.after.onTimeout == .pause ? "is paused" : "ends"
            events.note(id, "timeout", "\(what) in \(timeout) s unless changed", ["timeout_seconds": "\(timeout)"])
        }
        return SandboxResource(changed.after)
    }

    /// A sandbox's history from after a sequence number; then, if `follow`, what comes until the sandbox is gone.
    package func history(
        of idOrName: String, after sequence: Int64, follow: Bool, caller: Caller,
        to body: (StoredEvent) async throws -> Void
    ) async throws {
        let id = try find(idOrName, caller: caller).id
        let index = index
        try await events.stream(of: id, after: sequence, follow: follow, isThere: { index.record(id) != nil }, to: body)
    }
}
