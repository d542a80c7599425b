import ControlStore
import LinuxSystem
import Metrics
import SandboxModel
import Synchronization

/// API keys: 256 random bits each, known to the store by their hash only.
package final class Keys: Sendable {
    private static let prefix = "mk_"
    /// Base-32 characters that hold 256 bits.
    private static let length = 52
    private static let fileLabel = "default"

    private let store: any KeyStore
    private let records: Mutex<[KeyRecord]>

    private init(store: any KeyStore, records: [KeyRecord]) {
        self.store = store
        self.records = Mutex(records)
    }

    /// Loads the keys of a store.
    package static func load(store: any KeyStore) async throws -> Keys {
        Keys(store: store, records: try await store.keys())
    }

    /// Whom a key belongs to; nil when there is no such key or it was revoked.
    ///
    /// The comparison takes the same time whatever was presented, and is of hashes, so it tells nothing of a key.
    package func caller(presenting key: String) -> Caller? {
        let hash = SecretHash.of(key)
        let match = records.withLock { records in
            records.reduce(into: KeyRecord?.none) { match, record in
                if SecretHash.isEqual(record.hash, hash), record.revokedAt == nil { match = record }
            }
        }
        guard let match else {
            Counter(label: "auth_failures_total").increment()
            return nil
        }
        return Caller(keyID: match.id, isAdmin: match.isAdmin, maxSandboxes: match.maxSandboxes)
    }

    /// Makes a key; its text is told here and never again.
    package func make(label: String, isAdmin: Bool, maxSandboxes: Int? = nil) async throws -> String {
        let key = Keys.prefix + RandomID.make(prefix: "0", length: Keys.length + 1).dropFirst()
        try await add(key, label: label, isAdmin: isAdmin, maxSandboxes: maxSandboxes)
        return key
    }

    /// Makes sure that `path` holds a key that works; true if a new one was made.
    ///
    /// A file that went missing is replaced, and the key it held revoked. A key of a file that the store does not
    /// know (the store was started afresh) is taken in again, so that clients go on working.
    package func ensureKeyFile(at path: String) async throws -> Bool {
        if let key = try Keys.read(path) {
            let hash = SecretHash.of(key)
            let known = records.withLock { $0.first { $0.hash == hash } }
            guard known?.revokedAt == nil else {
                throw MartletError(
                    .failedPrecondition,
                    "API key: \(path): the key in this file was revoked; remove the file for a new one")
            }
            if known == nil { try await add(key, label: Keys.fileLabel, isAdmin: true, maxSandboxes: nil) }
            return false
        }
        let lost = records.withLock { $0.filter { $0.label == Keys.fileLabel && $0.revokedAt == nil } }
        let key = try await make(label: Keys.fileLabel, isAdmin: true)
        do {
            try AtomicFile.write(Array((key + "\n").utf8), to: path, mode: 0o600)
        } catch {
            throw MartletError(.unavailable, "API key: \(error)")
        }
        for record in lost { try await revoke(record.id) }
        return true
    }

    /// Makes a key useless from now on.
    package func revoke(_ id: String) async throws {
        let now = Timestamp.now
        try await store.revokeKey(id, at: now)
        records.withLock { records in
            for index in records.indices where records[index].id == id { records[index].revokedAt = now }
        }
    }

    private func add(_ key: String, label: String, isAdmin: Bool, maxSandboxes: Int?) async throws {
        let record = KeyRecord(
            id: RandomID.make(prefix: "k"), hash: SecretHash.of(key), label: label, isAdmin: isAdmin, createdAt: .now,
            maxSandboxes: maxSandboxes)
        try await store.insert(record)
        records.withLock { $0.append(record) }
    }

    /// The key in a file; nil when there is no file.
    private static func read(_ path: String) throws(MartletError) -> String? {
        do {
            let text = String(decoding: try AtomicFile.read(path, limit: 4096), as: UTF8.self)
            let key = text.split(whereSeparator: \.isWhitespace).first.map(String.init) ?? ""
            let digits = key.dropFirst(prefix.count).utf8
            guard key.hasPrefix(prefix), digits.count == length, digits.allSatisfy(RandomID.alphabet.contains) else {
                throw MartletError(
                    .failedPrecondition, "API key: \(path): the file holds no key; remove it for a new one")
            }
            return key
        } catch let error as MartletError {
            throw error
        } catch let error as SystemError where error.errno == 2 {
            return nil
        } catch {
            throw MartletError(.unavailable, "API key: \(error)")
        }
    }

    /// Whether a text has the form of a key, of whichever server.
    package static func isKeyLike(_ text: some StringProtocol) -> Bool { text.hasPrefix(prefix) }
}
