/// A `Range` header of the one form that is honoured, `bytes=first-` or `bytes=first-last`; others count as absent,
/// which HTTP allows.
struct ByteRange: Equatable {
    var first: UInt64
    var length: UInt64?

    init?(_ header: String) {
        guard header.hasPrefix("bytes="), !header.contains(",") else { return nil }
        let parts = header.dropFirst(6).split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.count == 2, let first = UInt64(parts[0]) else { return nil }
        self.first = first
        if !parts[1].isEmpty {
            guard let last = UInt64(parts[1]), last >= first, last < .max else { return nil }
            length = last - first + 1
        }
    }
}
