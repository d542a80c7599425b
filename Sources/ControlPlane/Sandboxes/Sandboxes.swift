import ControlStore
import GuestClient
import Logging
import MartletAPI
import Node
import SandboxModel

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
    let logger: Logger
    /// Told when a deadline may have become earlier.
    let deadlinesChanged = BoundedChannel<Void>(capacity: 1)

    init(
        configuration: ControlPlaneConfiguration, store: any DurableStore, node: any NodeService, index: SandboxIndex,
        events: Events, logger: Logger
    ) {
        self.configuration = configuration
        self.store = store
        self.node = node
        self.index = index
        self.events = events
        self.logger = logger
        gate = IdempotencyGate(store: store)
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

    /// The guest of a running sandbox the caller may see.
    ///
    /// - Throws: `not_found`, `failed_precondition` when it does not run, `unavailable`.
    package func guest(
        of idOrName: String, caller: Caller
    ) async throws -> (id: SandboxID, connection: GuestConnection) {
        let record = try find(idOrName, caller: caller)
        guard record.state == .running else {
            let why = record.reason.map { ": \($0)" } ?? ""
            throw MartletError(
                .failedPrecondition, "sandbox: \(record.id) is \(record.state.rawValue), not running\(why)",
                details: ["sandbox": record.id.rawValue, "state": record.state.rawValue])
        }
        return (record.id, try await node.guest(of: record.id))
    }

    /// Changes time-out (counted from now) and labels (replaced as a whole).
    ///
    /// - Throws: `invalid_argument`, `not_found`, `failed_precondition` when it does not run.
    package func update(
        _ idOrName: String, _ request: UpdateSandboxRequest, caller: Caller
    ) async throws -> SandboxResource {
        let id = try find(idOrName, caller: caller).id
        let metadata = try request.metadata.map { value throws(MartletError) in try MetadataCheck.checked(value) }
        let timeout = try request.timeoutSeconds.map { value throws(MartletError) in
            try CreatePlan.timeout(value, configuration: configuration)
        }
        let changed = try index.change(id) { record throws(MartletError) in
            guard record.state == .running else {
                throw MartletError(
                    .failedPrecondition, "update sandbox: \(id): it is \(record.state.rawValue), not running")
            }
            if let metadata { record.metadata = metadata }
            if let timeout {
                record.timeoutSeconds = timeout
                record.expiresAt = .now.adding(seconds: Int64(timeout))
            }
        }
        guard let changed else { throw Sandboxes.notFound(idOrName) }
        do {
            try await store.update(changed.after)
        } catch {
            // Memory must not promise what the disk does not hold; a later change of someone else's stays.
            _ = index.change(id) { record in
                if record == changed.after { record = changed.before }
            }
            throw error
        }
        deadlinesChanged.offer(())
        if let timeout {
            events.note(id, "timeout", "ends in \(timeout) s unless changed", ["timeout_seconds": "\(timeout)"])
        }
        return SandboxResource(changed.after)
    }

    /// Counters of the guest's kernel and of the host's memory it holds.
    package func metrics(_ idOrName: String, caller: Caller) async throws -> SandboxMetrics {
        let (id, connection) = try await guest(of: idOrName, caller: caller)
        async let memory = node.memory(of: id)
        return SandboxMetrics(try await connection.metrics(), memory: try await memory)
    }

    /// The end of the console, as bytes of the guest's choosing.
    package func consoleLog(_ idOrName: String, caller: Caller) async throws -> [UInt8] {
        let record = try find(idOrName, caller: caller)
        return try await node.consoleLog(of: record.id)
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
