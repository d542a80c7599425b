import ControlStore
import FoundationEssentials
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

/// The last snapshot of a page; the next page begins after it, whatever was made or deleted in between.
struct SnapshotCursor: Sendable {
    var createdAt: Int64
    var id: String

    init(_ record: SnapshotRecord) {
        createdAt = record.createdAt.milliseconds
        id = record.id.rawValue
    }

    init(_ text: String) throws(MartletError) {
        let parts = Data(base64Encoded: text).map { String(decoding: $0, as: UTF8.self).split(separator: ":") } ?? []
        guard parts.count == 2, let time = Int64(parts[0]), SnapshotID(rawValue: String(parts[1])) != nil else {
            throw .invalid("cursor", "is none that a list has given")
        }
        createdAt = time
        id = String(parts[1])
    }

    var text: String { Data("\(createdAt):\(id)".utf8).base64EncodedString() }

    /// Newest first; the id decides between those of one millisecond.
    func isBefore(_ other: SnapshotCursor) -> Bool {
        createdAt == other.createdAt ? id > other.id : createdAt > other.createdAt
    }
}
