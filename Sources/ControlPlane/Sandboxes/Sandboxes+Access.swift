import ControlStore
import MartletAPI
import SandboxModel

extension Sandboxes {
    /// Whoever has opened a sandbox with a token of its own acts as its owner, who is no administrator thereby.
    ///
    /// - Returns: nil when there is no such sandbox.
    package func opened(_ id: SandboxID) -> (caller: Caller, sandbox: SandboxResource)? {
        guard let record = index.record(id) else { return nil }
        return (Caller(keyID: record.keyID, isAdmin: false), SandboxResource(record))
    }

    /// The ids of all sandboxes that run or may run again.
    package var live: [SandboxID] { index.all.filter(\.state.isLive).map(\.id) }
}
