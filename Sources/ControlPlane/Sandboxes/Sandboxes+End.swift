import ControlStore
import Logging
import Metrics
import Node
import SandboxModel
import Synchronization

extension Sandboxes {
    /// Ends a sandbox and forgets it. Returns when nothing of it is left on the host.
    ///
    /// - Throws: `not_found`, also while another call is ending it.
    package func delete(_ idOrName: String, caller: Caller) async throws {
        let id = try find(idOrName, caller: caller).id
        guard try await end(id, kind: "state", message: "killed on request") else {
            throw Sandboxes.notFound(idOrName)
        }
    }

    /// Ends a sandbox whose time is over, or forgets a failed one.
    func expire(_ record: SandboxRecord) async {
        do {
            if record.state == .running, record.onTimeout == .pause { return await pauseExpired(record.id) }
            let kind = record.state == .failed ? "state" : "expired"
            let message =
                record.state == .failed ? "the failed sandbox's record is dropped" : "its time-out was reached"
            // It may have been given more time, or have been paused, by the time its turn has come.
            let isDue = { (record: SandboxRecord) in
                (record.state == .running || record.state == .failed) && record.expiresAt <= .now
            }
            guard try await end(record.id, kind: kind, message: message, if: isDue) else { return }
            let reclaimed = kind == "expired" ? "expired" : "failed"
            Counter(label: "reclaim_total", dimensions: [("kind", reclaimed)]).increment()
        } catch is CancellationError {
            return
        } catch {
            logger.error(
                "ending a sandbox failed", metadata: ["sandbox.id": "\(record.id)", "error": "\(error)"])
        }
    }

    /// Ends a sandbox when the step it is at is over, unless it is not to be any more; false when it is gone or on its
    /// way.
    private func end(
        _ id: SandboxID, kind: String, message: String, if isWanted: (SandboxRecord) -> Bool = { _ in true }
    ) async throws -> Bool {
        guard let state = index.record(id)?.state, state != .stopping else { return false }
        let isEnded = try await turns.take(id) {
            guard let record = index.record(id), isWanted(record) else { return false }
            return try await endNow(id, kind: kind, message: message)
        }
        guard isEnded else { return false }
        _ = recordedEnds.withLock { $0.removeValue(forKey: id) }
        await shelf.discard(shelf.snapshots.checkpoints(of: id).map(\.id))
        await shelf.sweep()
        return true
    }

    private func endNow(_ id: SandboxID, kind: String, message: String) async throws -> Bool {
        guard let before = index.step(id, to: .stopping) else { return false }
        let (store, node, logger) = (store, node, logger)
        await traffic.settle(id)
        do {
            // Once begun it is carried through, even if the client leaves.
            try await shielded {
                // The record goes first: a crash from here on leaves a machine without a record, which the next start
                // destroys. A disk that is full may refuse that until the machine has given its space back.
                let isForgotten = (try? await store.remove(id)) != nil
                do {
                    try await node.destroy(id)
                } catch let error as MartletError where error.code == .notFound {
                    logger.debug("the machine was gone already", metadata: ["sandbox.id": "\(id)"])
                }
                if !isForgotten { try await store.remove(id) }
            }
        } catch {
            await keepAsFailed(before, reason: "ending it failed: \(error)")
            throw error
        }
        index.remove(id)
        denials.forget(id)
        networks.setProblem(id, nil)
        publishedPorts.removeAll(of: id)
        events.note(
            id, kind, message, ["from": before.state.rawValue, "to": SandboxState.stopped.rawValue])
        events.finish(id)
        logger.info(
            "sandbox state changed",
            metadata: [
                "sandbox.id": "\(id)", "from": "\(before.state.rawValue)", "to": "stopped", "cause": "\(message)",
            ])
        return true
    }

    /// What could not be ended stays visible, so that it can be tried again.
    private func keepAsFailed(_ before: SandboxRecord, reason: String) async {
        guard index.step(before.id, to: .failed, reason: reason) != nil, let record = retain(before.id) else { return }
        do {
            try await shielded { [store] in
                do {
                    try await store.update(record)
                } catch let error as MartletError where error.code == .notFound {
                    let event = EventRecord(sandboxID: record.id, time: .now, kind: "state", message: reason)
                    _ = try await store.insert(record, event: event, idempotency: nil)
                }
            }
        } catch {
            logger.error(
                "recording a failed sandbox failed", metadata: ["sandbox.id": "\(record.id)", "error": "\(error)"])
        }
        deadlinesChanged.offer(())
    }

    /// Takes note that a sandbox's machine ended. One that is being paused or put back loses its machine on purpose:
    /// what counts then is whether the node still has the sandbox when that is over.
    func ended(_ id: SandboxID, reason: String) async {
        if let state = index.record(id)?.state, [.pausing, .paused, .resuming].contains(state) {
            try? await turns.take(id) {}
            if await node.sandboxes().contains(where: { $0.id == id }) { return }
        }
        await fail(id, reason: reason)
    }

    /// Takes note that a sandbox's machine is gone without being asked to go.
    func fail(_ id: SandboxID, reason: String) async {
        let why = reason.printable
        guard let before = index.step(id, to: .failed, reason: why), let record = retain(id) else { return }
        logger.warning(
            "sandbox state changed",
            metadata: ["sandbox.id": "\(id)", "from": "\(before.state.rawValue)", "to": "failed", "cause": "\(why)"])
        Counter(label: "sandbox_failures_total").increment()
        events.note(id, "state", why, ["from": before.state.rawValue, "to": SandboxState.failed.rawValue])
        do {
            try await store.update(record)
        } catch {
            logger.error(
                "recording a failed sandbox failed", metadata: ["sandbox.id": "\(id)", "error": "\(error)"])
        }
        // Whatever the machine left behind on the host goes now; nothing left is the usual case.
        try? await node.destroy(id)
        await shelf.sweep()
        dropOldestFailed()
        deadlinesChanged.offer(())
    }

    /// Gives a failed sandbox's record its own time to stay.
    private func retain(_ id: SandboxID) -> SandboxRecord? {
        let until = Timestamp.now.adding(seconds: Int64(configuration.failedRetentionSeconds))
        return index.change(id) { $0.expiresAt = until }?.after
    }

    /// Lets the reaper drop the oldest failed records when there are too many.
    private func dropOldestFailed() {
        let failed = index.all.filter { $0.state == .failed }
        guard failed.count > configuration.maxFailedRecords else { return }
        let tooMany = failed.count - configuration.maxFailedRecords
        let surplus = failed.sorted { $0.expiresAt < $1.expiresAt }.prefix(tooMany)
        for record in surplus { _ = index.change(record.id) { $0.expiresAt = .now } }
    }
}
