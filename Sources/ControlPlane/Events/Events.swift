import ControlStore
import Logging
import MartletAPI
import SandboxModel
import Synchronization

/// The history of sandboxes: kept in the store, told live to who follows it.
///
/// Writing an event never holds anything up: it is queued, and a few at a time go into one transaction.
package final class Events: Sendable {
    /// Events waiting to be written; more than this at once are dropped, and that is logged.
    private static let queueLength = 10_000

    private let store: any EventStore
    private let logger: Logger
    private let queue = BoundedChannel<Item>(capacity: queueLength)
    private let followers = Mutex<[SandboxID: Broadcast<EventRecord>]>([:])

    private enum Item: Sendable {
        case event(EventRecord)
        case finished(SandboxID)
    }

    init(store: any EventStore, logger: Logger) {
        self.store = store
        self.logger = logger
    }

    /// Takes note of something that happened.
    func note(
        _ id: SandboxID, _ kind: String, _ message: String, _ details: [String: String] = [:], at time: Timestamp = .now
    ) {
        let event = EventRecord(sandboxID: id, time: time, kind: kind, message: message, details: details)
        if !queue.offer(.event(event)) {
            logger.warning("an event was dropped: too many wait", metadata: ["sandbox.id": "\(id)"])
        }
    }

    /// Tells an event that is stored already to who follows.
    func publish(_ event: EventRecord) {
        followers.withLock { $0[event.sandboxID] }?.publish(event)
    }

    /// Says that no more events of a sandbox come.
    func finish(_ id: SandboxID) { queue.offer(.finished(id)) }

    /// A sandbox's history from after a sequence number; then, if `follow`, what comes until the sandbox is gone.
    ///
    /// - Parameter isThere: asked after the following began, so that the end of the sandbox cannot be missed.
    func stream(
        of id: SandboxID, after sequence: Int64, follow: Bool, isThere: () -> Bool,
        to body: (StoredEvent) async throws -> Void
    ) async throws {
        var live = follow ? broadcast(of: id).subscribe() : nil
        if !isThere() {
            live = nil
            finish(id)
        }
        var last = sequence
        while true {
            let stored = try await store.events(of: id, after: last, limit: 500)
            for event in stored {
                try await body(StoredEvent(event))
                last = event.sequence
            }
            if stored.count < 500 { break }
        }
        guard let live else { return }
        for await event in live where event.sequence > last {
            try await body(StoredEvent(event))
            last = event.sequence
        }
        try Task.checkCancellation()
    }

    private func broadcast(of id: SandboxID) -> Broadcast<EventRecord> {
        followers.withLock { followers in
            if let broadcast = followers[id] { return broadcast }
            let broadcast = Broadcast<EventRecord>()
            followers[id] = broadcast
            return broadcast
        }
    }

    // MARK: Writing

    /// Writes until cancelled.
    func run() async {
        while let batch = try? await queue.nextBatch() { await write(batch) }
    }

    /// Writes what still waits; nothing is taken in afterwards.
    func drain() async {
        queue.finish()
        while let batch = try? await queue.nextBatch() { await write(batch) }
        for broadcast in followers.withLock({ Array($0.values) }) { broadcast.finish() }
    }

    private func write(_ batch: [Item]) async {
        let events = batch.compactMap { item in
            if case .event(let event) = item { event } else { nil }
        }
        do {
            for event in try await shielded({ [store] in try await store.append(events) }) { publish(event) }
        } catch {
            logger.error("writing events failed", metadata: ["count": "\(events.count)", "error": "\(error)"])
        }
        for case .finished(let id) in batch {
            followers.withLock { $0.removeValue(forKey: id) }?.finish()
        }
    }
}

/// An event with its place in the history.
package struct StoredEvent: Sendable {
    package var sequence: Int64
    package var event: SandboxEvent

    init(_ record: EventRecord) {
        sequence = record.sequence
        event = SandboxEvent(
            time: record.time, kind: record.kind, message: record.message, details: record.details)
    }
}
