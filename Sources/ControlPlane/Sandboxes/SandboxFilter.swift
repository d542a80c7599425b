import ControlStore
import MartletAPI
import SandboxModel

/// Which sandboxes a list shows, and where its page begins.
package struct SandboxFilter: Sendable {
    package var state: SandboxState?
    /// Where not empty, one of these instead of `state`.
    package var states: Set<SandboxState> = []
    package var metadata: [String: String]
    /// Made from a template or snapshot of this name or id.
    package var origin: String?
    /// Made at this moment or later.
    package var createdAfter: Timestamp?
    package var isOldestFirst = false
    package var limit: Int
    /// `next_cursor` of the page before.
    package var cursor: String?

    package init(state: SandboxState? = nil, metadata: [String: String] = [:], limit: Int = 100, cursor: String? = nil)
    {
        self.state = state
        self.metadata = metadata
        self.limit = limit
        self.cursor = cursor
    }

    func matches(_ record: SandboxRecord) -> Bool {
        if let state, record.state != state { return false }
        if !states.isEmpty, !states.contains(record.state) { return false }
        if let origin, record.template != origin, record.fromSnapshot != origin { return false }
        if let createdAfter, record.createdAt < createdAfter { return false }
        return metadata.allSatisfy { record.metadata[$0.key] == $0.value }
    }
}

extension Sandboxes {
    /// The sandboxes a caller may see, newest first unless told otherwise, a page at a time.
    ///
    /// - Throws: `invalid_argument` for a cursor or limit that is none.
    package func list(_ filter: SandboxFilter, caller: Caller) throws(MartletError) -> Page<SandboxResource> {
        let visible = index.all.filter { caller.isAdmin || $0.keyID == caller.keyID }
        return try Page.newestFirst(
            visible.filter(filter.matches), limit: filter.limit, after: filter.cursor,
            isReversed: filter.isOldestFirst,
            isID: { SandboxID(rawValue: $0) != nil },
            position: { ListPosition(createdAt: $0.createdAt, id: $0.id.rawValue) },
            item: { SandboxResource(listed: $0) })
    }
}
