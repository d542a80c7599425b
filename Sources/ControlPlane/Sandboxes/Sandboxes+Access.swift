import ControlStore
import MartletAPI
import SandboxModel

extension Sandboxes {
    /// Whoever has opened a sandbox with a token of its own acts as its owner, who is no administrator thereby.
    ///
    /// - Returns: nil when there is no such sandbox.
    package func opened(_ id: SandboxID) -> (caller: Caller, sandbox: SandboxResource, dialect: String?)? {
        guard let record = index.record(id) else { return nil }
        return (Caller(keyID: record.keyID, isAdmin: false), SandboxResource(record), record.dialect)
    }

    /// What is kept beside a sandbox for whoever speaks another API.
    ///
    /// - Throws: `not_found`.
    package func dialect(of idOrName: String, caller: Caller) throws(MartletError) -> String? {
        try find(idOrName, caller: caller).dialect
    }

    /// Replaces it.
    ///
    /// - Throws: `not_found`, and what the store throws; it is as it was then.
    package func setDialect(_ dialect: String?, of idOrName: String, caller: Caller) async throws {
        let id = try find(idOrName, caller: caller).id
        guard let (before, _) = index.change(id, { $0.dialect = dialect }) else { throw Sandboxes.notFound(idOrName) }
        do {
            try await store.updateLatest { [index] in index.record(id) }
        } catch {
            _ = index.change(id) { if $0.dialect == dialect { $0.dialect = before.dialect } }
            throw error
        }
    }

    /// The ids of all sandboxes that run or may run again.
    package var live: [SandboxID] { index.all.filter(\.state.isLive).map(\.id) }
}
