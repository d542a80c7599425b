import ControlStore
import MartletAPI
import SandboxModel

/// Which snapshots a list shows, and where its page begins.
package struct SnapshotFilter: Sendable {
    /// Id or name of a sandbox; one that is gone has an id still.
    package var sandbox: String?
    package var name: String?
    package var kind: SnapshotKind?
    package var state: SnapshotState
    package var limit: Int
    /// `next_cursor` of the page before.
    package var cursor: String?

    package init(
        sandbox: String? = nil, name: String? = nil, kind: SnapshotKind? = nil, state: SnapshotState = .ready,
        limit: Int = 100, cursor: String? = nil
    ) {
        self.sandbox = sandbox
        self.name = name
        self.kind = kind
        self.state = state
        self.limit = limit
        self.cursor = cursor
    }

    func matches(_ record: SnapshotRecord) -> Bool {
        (name == nil || record.name == name) && (kind == nil || record.kind == kind)
            && record.isDeleting == (state == .deleting)
    }
}
