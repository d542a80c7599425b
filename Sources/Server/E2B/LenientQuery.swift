import SandboxModel

/// A query of E2B's clients: of the same name the first counts, and names nobody knows are passed over.
struct LenientQuery: Sendable {
    private var values: [String: String] = [:]

    /// - Throws: `invalid_argument` for text that is not UTF-8.
    init(_ text: String?) throws(MartletError) {
        for pair in (text ?? "").utf8.split(separator: UInt8(ascii: "&")) {
            let parts = pair.split(separator: UInt8(ascii: "="), maxSplits: 1, omittingEmptySubsequences: false)
            guard let name = Query.decoded(parts[0]), let value = parts.count == 2 ? Query.decoded(parts[1]) : "" else {
                throw .invalid("query", "is not UTF-8, percent-encoded")
            }
            if values[name] == nil { values[name] = value }
        }
    }

    subscript(name: String) -> String? { values[name] }

    /// All there is.
    var all: [String: String] { values }

    /// A whole number, if there.
    func number(_ name: String) throws(MartletError) -> Int? {
        guard let text = values[name] else { return nil }
        guard let number = Int(text), number >= 0 else { throw .invalid(name, "is not a whole number from 0 up") }
        return number
    }

    /// The parts of a list with commas.
    func list(_ name: String) -> [String]? {
        values[name].map { $0.split(separator: ",").map(String.init) }
    }
}
