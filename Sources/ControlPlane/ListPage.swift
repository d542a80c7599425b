import FoundationEssentials
import MartletAPI
import SandboxModel

/// Where something stands in a list, newest first; the next page begins after the last of a page, whatever was made or
/// ended in between.
struct ListPosition: Equatable, Sendable {
    var createdAt: Int64
    var id: String

    init(createdAt: Timestamp, id: String) {
        self.createdAt = createdAt.milliseconds
        self.id = id
    }

    /// Reads what `cursor` wrote.
    ///
    /// - Throws: `invalid_argument`.
    init(cursor: String, isID: (String) -> Bool) throws(MartletError) {
        let parts = Data(base64Encoded: cursor).map { String(decoding: $0, as: UTF8.self).split(separator: ":") } ?? []
        guard parts.count == 2, let time = Int64(parts[0]), isID(String(parts[1])) else {
            throw .invalid("cursor", "is none that a list has given")
        }
        createdAt = time
        id = String(parts[1])
    }

    var cursor: String { Data("\(createdAt):\(id)".utf8).base64EncodedString() }

    /// Newest first; the id decides between those of one millisecond.
    func isBefore(_ other: ListPosition) -> Bool {
        createdAt == other.createdAt ? id > other.id : createdAt > other.createdAt
    }
}

extension Page {
    /// One page of records, newest first.
    ///
    /// - Parameters:
    ///   - isReversed: oldest first.
    ///   - cursor: `next_cursor` of the page before.
    ///   - isID: whether a text is the id of such a record.
    /// - Throws: `invalid_argument` for a cursor or limit that is none.
    static func newestFirst<Record>(
        _ records: [Record], limit: Int, after cursor: String?, isReversed: Bool = false, isID: (String) -> Bool,
        position: (Record) -> ListPosition, item: (Record) -> Item
    ) throws(MartletError) -> Page {
        guard (1...1000).contains(limit) else { throw .invalid("limit", "\(limit) is outside 1...1000") }
        let start = try cursor.map { text throws(MartletError) in try ListPosition(cursor: text, isID: isID) }
        let isBefore = { (left: ListPosition, right: ListPosition) in
            isReversed ? right.isBefore(left) : left.isBefore(right)
        }
        let found = records.map { (position: position($0), record: $0) }
            .filter { entry in start.map { isBefore($0, entry.position) } ?? true }
            .sorted { isBefore($0.position, $1.position) }
        let page = found.prefix(limit)
        return Page(
            items: page.map { item($0.record) },
            nextCursor: found.count > page.count ? page.last?.position.cursor : nil)
    }
}
