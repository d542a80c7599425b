import ControlStore
import FoundationEssentials
import MartletAPI
import SandboxModel

/// Which sandboxes a list shows, and where its page begins.
package struct SandboxFilter: Sendable {
    package var state: SandboxState?
    package var metadata: [String: String]
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
        return metadata.allSatisfy { record.metadata[$0.key] == $0.value }
    }
}

/// The last sandbox of a page; the next page begins after it, whatever was made or ended in between.
struct SandboxCursor: Equatable {
    var createdAt: Int64
    var id: String

    init(_ record: SandboxRecord) {
        createdAt = record.createdAt.milliseconds
        id = record.id.rawValue
    }

    init(_ text: String) throws(MartletError) {
        let parts = Data(base64Encoded: text).map { String(decoding: $0, as: UTF8.self).split(separator: ":") } ?? []
        guard parts.count == 2, let time = Int64(parts[0]), SandboxID(rawValue: String(parts[1])) != nil else {
            throw .invalid("cursor", "is none that a list has given")
        }
        createdAt = time
        id = String(parts[1])
    }

    var text: String { Data("\(createdAt):\(id)".utf8).base64EncodedString() }

    /// Newest first; the id decides between those of one millisecond.
    func isBefore(_ other: SandboxCursor) -> Bool {
        createdAt == other.createdAt ? id > other.id : createdAt > other.createdAt
    }
}

extension Sandboxes {
    /// The sandboxes a caller may see, newest first, a page at a time.
    ///
    /// - Throws: `invalid_argument` for a cursor or limit that is none.
    package func list(_ filter: SandboxFilter, caller: Caller) throws(MartletError) -> Page<SandboxResource> {
        guard (1...1000).contains(filter.limit) else {
            throw .invalid("limit", "\(filter.limit) is outside 1...1000")
        }
        let start = try filter.cursor.map { text throws(MartletError) in try SandboxCursor(text) }
        let found = index.all
            .filter { caller.isAdmin || $0.keyID == caller.keyID }
            .filter(filter.matches)
            .map { (cursor: SandboxCursor($0), record: $0) }
            .filter { item in start.map { $0.isBefore(item.cursor) } ?? true }
            .sorted { $0.cursor.isBefore($1.cursor) }
        let page = found.prefix(filter.limit)
        return Page(
            items: page.map { SandboxResource($0.record) },
            nextCursor: found.count > page.count ? page.last?.cursor.text : nil)
    }
}
