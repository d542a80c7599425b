import SandboxModel

/// A place kept for something that is being made.
struct Reservation: Sendable {
    var keyID: String?
    var name: String?
}

/// Places kept for what is being made and is on no record yet, so that a name or a limit cannot be overrun by makers
/// that run side by side.
struct Reservations: Sendable {
    private var names: Set<String> = []
    private var counts: [String?: Int] = [:]

    /// Keeps a place.
    ///
    /// - Parameters:
    ///   - inUse: how many the key has on record.
    ///   - isNameTaken: whether one on record has the name.
    ///   - doing: what the place is for, as errors begin.
    ///   - things: what is counted.
    /// - Throws: `conflict` when the name is taken, `resource_exhausted` when the key has `limit` of them.
    mutating func reserve(
        _ place: Reservation, limit: Int?, inUse: Int, isNameTaken: Bool, doing: String, things: String
    ) throws(MartletError) -> Reservation {
        if let name = place.name, isNameTaken || names.contains(name) {
            throw MartletError(.conflict, "\(doing): the name '\(name)' is in use", details: ["field": "name"])
        }
        let count = inUse + counts[place.keyID, default: 0]
        if let limit, count >= limit {
            throw MartletError(
                .resourceExhausted, "\(doing): this key has all the \(limit) \(things) it may have",
                details: ["limit": "\(limit)", "in_use": "\(count)", "scope": "key"])
        }
        if let name = place.name { names.insert(name) }
        counts[place.keyID, default: 0] += 1
        return place
    }

    /// Gives a kept place back.
    mutating func release(_ place: Reservation) {
        if let name = place.name { names.remove(name) }
        let left = counts[place.keyID, default: 0] - 1
        counts[place.keyID] = left > 0 ? left : nil
    }
}
