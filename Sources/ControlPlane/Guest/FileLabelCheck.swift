import SandboxModel

/// Labels kept with files: bounded, and nothing that could not be said in a line of a header.
enum FileLabelCheck {
    /// What a name may have beside the prefix that it is stored with (xattr(7) allows 255 in all).
    private static let maxNameBytes = 246
    /// Bytes of all names and values together.
    private static let maxBytes = 4096

    /// `name=value` pairs, in the order of their names.
    ///
    /// - Throws: `invalid_argument` naming the label.
    static func pairs(_ labels: [String: String]) throws(MartletError) -> [String] {
        var bytes = 0
        var pairs: [String] = []
        for (name, value) in labels.sorted(by: { $0.key < $1.key }) {
            guard (1...maxNameBytes).contains(name.utf8.count), name.utf8.allSatisfy({ (33...126).contains($0) }),
                !name.contains("=")
            else { throw .invalid("metadata", "'\(name.printable)' is no name of a label") }
            guard value.utf8.allSatisfy({ (32...126).contains($0) }) else {
                throw .invalid("metadata.\(name)", "must be printable ASCII")
            }
            bytes += name.utf8.count + value.utf8.count
            pairs.append("\(name)=\(value)")
        }
        guard bytes <= maxBytes else { throw .invalid("metadata", "is larger than \(maxBytes) bytes in all") }
        return pairs
    }

    /// What a guest tells, whatever it is, as labels: bounded, and without what is none.
    static func labels(_ pairs: [String]) -> [String: String] {
        var labels: [String: String] = [:]
        var bytes = 0
        for pair in pairs {
            guard let sign = pair.firstIndex(of: "="), sign > pair.startIndex else { continue }
            bytes += pair.utf8.count
            guard bytes <= maxBytes + pairs.count else { break }
            labels[String(pair[..<sign])] = String(pair[pair.index(after: sign)...])
        }
        return labels
    }
}
