import ControlStore
import SandboxModel
import Synchronization

/// Makes creates with the same key happen once: later ones get what the first made, and wait for it if need be.
final class IdempotencyGate: Sendable {
    private struct ScopedKey: Hashable {
        var keyID: String
        var key: String
    }

    private struct Attempt {
        var requestHash: [UInt8]
        var isOver: Latch
    }

    private let store: any IdempotencyStore
    private let attempts = Mutex<[ScopedKey: Attempt]>([:])

    init(store: any IdempotencyStore) { self.store = store }

    /// The key, as it may come in a header.
    ///
    /// - Throws: `invalid_argument`.
    static func checked(_ key: String) throws(MartletError) -> String {
        guard (1...255).contains(key.utf8.count), key.utf8.allSatisfy({ (33...126).contains($0) }) else {
            throw .invalid("Idempotency-Key", "must be 1-255 printable ASCII characters without spaces")
        }
        return key
    }

    /// Runs `make` unless the key was used already; an attempt that failed leaves the key free.
    ///
    /// - Returns: what `make` returned, or the id of what the key made before.
    /// - Throws: `conflict` when the key was used for another request.
    func once<Made: Sendable>(
        keyID: String?, key: String, requestHash: [UInt8], make: (IdempotencyRecord.Draft) async throws -> Made
    ) async throws -> Outcome<Made> {
        let scoped = ScopedKey(keyID: keyID ?? "", key: key)
        let isOver = Latch()
        while true {
            let underWay = attempts.withLock { attempts in
                if let attempt = attempts[scoped] { return Optional(attempt) }
                attempts[scoped] = Attempt(requestHash: requestHash, isOver: isOver)
                return nil
            }
            guard let underWay else { break }
            guard underWay.requestHash == requestHash else { throw IdempotencyGate.usedOtherwise }
            try await underWay.isOver.wait()
        }
        defer {
            attempts.withLock { $0[scoped] = nil }
            isOver.open()
        }
        if let used = try await store.idempotency(keyID: scoped.keyID, key: key),
            used.createdAt > .now.adding(seconds: -Maintenance.idempotencySeconds)
        {
            guard used.requestHash == requestHash else { throw IdempotencyGate.usedOtherwise }
            return .before(used.made)
        }
        return .now(
            try await make(IdempotencyRecord.Draft(keyID: scoped.keyID, key: key, requestHash: requestHash)))
    }

    /// What came of an attempt.
    enum Outcome<Made: Sendable>: Sendable {
        case now(Made)
        case before(String)
    }

    private static var usedOtherwise: MartletError {
        MartletError(
            .conflict, "idempotency key: it was used for another request",
            details: ["field": "Idempotency-Key"])
    }
}

extension IdempotencyRecord {
    /// A record that waits for what it will name.
    struct Draft: Sendable {
        var keyID: String
        var key: String
        var requestHash: [UInt8]

        func record(_ id: String, at time: Timestamp) -> IdempotencyRecord {
            IdempotencyRecord(keyID: keyID, key: key, requestHash: requestHash, made: id, createdAt: time)
        }
    }
}
