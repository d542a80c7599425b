import SandboxModel

/// Where sandboxes are remembered. Every call is one transaction: done whole or not at all.
package protocol SandboxStore: Sendable {
    /// Every sandbox on record.
    func sandboxes() async throws -> [SandboxRecord]

    /// Records a new sandbox together with its first event and, if given, the idempotency key it was asked with.
    ///
    /// - Returns: the event as stored.
    /// - Throws: `conflict` when a live sandbox has the name.
    func insert(
        _ sandbox: SandboxRecord, event: EventRecord, idempotency: IdempotencyRecord?
    ) async throws -> EventRecord

    /// Records new sandboxes, each with its first event: all of them or none.
    ///
    /// - Returns: the events as stored.
    func insert(_ sandboxes: [(sandbox: SandboxRecord, event: EventRecord)]) async throws -> [EventRecord]

    /// Replaces a sandbox's record by what `sandbox` returns when its turn to be written has come, so that of two
    /// writers the last one writes the newest. One that is not on record is left alone.
    func updateLatest(_ sandbox: @escaping @Sendable () -> SandboxRecord?) async throws

    /// Replaces a sandbox's record.
    ///
    /// - Throws: `not_found`.
    func update(_ sandbox: SandboxRecord) async throws

    /// Forgets a sandbox; one that is not on record is no error. Its events stay.
    func remove(_ id: SandboxID) async throws
}

/// Where snapshots are remembered. Every call is one transaction.
package protocol SnapshotStore: Sendable {
    /// Every snapshot on record.
    func snapshots() async throws -> [SnapshotRecord]

    /// Records a new snapshot together with the sandbox it was taken of, as that is when it is written, and the
    /// idempotency key it was asked with, if any.
    ///
    /// - Throws: `conflict` when a snapshot that is not being deleted has the name.
    func insert(
        _ snapshot: SnapshotRecord, idempotency: IdempotencyRecord?,
        sandbox: @escaping @Sendable () -> SandboxRecord?
    ) async throws

    /// Replaces a snapshot's record.
    ///
    /// - Throws: `not_found`.
    func update(_ snapshot: SnapshotRecord) async throws

    /// Forgets a snapshot; snapshots and sandboxes that came from it come from its parent from now on. One that is not
    /// on record is no error.
    func remove(_ id: SnapshotID) async throws
}

/// Where the history of sandboxes is kept: append-only, bounded by pruning.
package protocol EventStore: Sendable {
    /// Appends events in order; returns them with their sequence numbers.
    func append(_ events: [EventRecord]) async throws -> [EventRecord]

    /// A sandbox's events after a sequence number, oldest first.
    func events(of id: SandboxID, after sequence: Int64, limit: Int) async throws -> [EventRecord]

    /// Drops all but the newest `perSandbox` events of every sandbox and the newest `total` of all.
    func pruneEvents(perSandbox: Int, total: Int) async throws

    /// Drops all but the newest events of one kind, so that what is told often does not push out all else.
    func pruneEvents(kind: String, perSandbox: Int, total: Int) async throws
}

/// Encrypts what of a sandbox's network must not be read from the store.
package protocol SecretStore: Sendable {
    /// Encrypts a sandbox's secrets, to be kept in its record.
    ///
    /// - Throws: `failed_precondition` or `unavailable` when the key cannot be read or made.
    func seal(_ secrets: SandboxSecrets, for id: SandboxID) async throws -> SealedSecrets

    /// Reads what `seal` returned for the same sandbox.
    ///
    /// - Throws: `failed_precondition` when they were encrypted with another key, for another sandbox, or are damaged.
    func unseal(_ sealed: SealedSecrets, for id: SandboxID) async throws -> SandboxSecrets

    /// What a secret's value is compared by where the value itself must not be kept. Without the key it tells nothing
    /// of the value.
    func fingerprint(ofSecret value: String) async throws -> String
}

/// Where idempotency keys are kept.
package protocol IdempotencyStore: Sendable {
    /// What a key was used for.
    func idempotency(keyID: String, key: String) async throws -> IdempotencyRecord?

    /// Forgets keys used before a moment.
    func pruneIdempotency(before: Timestamp) async throws
}

/// Where API keys are kept.
package protocol KeyStore: Sendable {
    /// Every key, revoked ones too.
    func keys() async throws -> [KeyRecord]

    /// Adds a key.
    ///
    /// - Throws: `conflict` when its hash is there.
    func insert(_ key: KeyRecord) async throws

    /// Makes a key useless from now on.
    func revokeKey(_ id: String, at time: Timestamp) async throws
}

/// Where published ports are kept; a sandbox that is forgotten takes its own along.
package protocol PortStore: Sendable {
    /// Every published port.
    func ports() async throws -> [PortRecord]

    /// Records a published port, in place of what was recorded of it.
    ///
    /// - Throws: `not_found` when the sandbox is not on record.
    func put(_ port: PortRecord) async throws

    /// Forgets a published port; one that is not on record is no error.
    func removePort(_ port: UInt16, of sandbox: SandboxID) async throws
}

/// Everything the control plane keeps.
package typealias DurableStore =
    EventStore & IdempotencyStore & KeyStore & PortStore & SandboxStore & SecretStore & SnapshotStore
