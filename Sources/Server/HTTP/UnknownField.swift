import FoundationEssentials
import MartletAPI

/// Finds a field of an inner object that decoding passed over: it is in what came but not in what was made of it.
enum UnknownField {
    /// Its path, such as `secrets[0].value_from.file`; nil when there is none.
    static func first(in data: Data, of type: (some APIRequest).Type, made: Data) throws -> String? {
        let decoder = JSONDecoder()
        let given = try decoder.decode(JSONValue.self, from: data)
        guard case .object(let fields) = given, fields.values.contains(where: \.holdsObjects) else { return nil }
        let known = try decoder.decode(JSONValue.self, from: made)
        return first(in: given, known, Place(), nullable: type.innerFields)
    }

    /// Where in a body something stands.
    private struct Place {
        /// As it is told, with the places of elements.
        var path = ""
        /// Without them.
        var kind = ""

        func field(_ name: String) -> Place {
            let name = String(name.prefix(64))
            return Place(path: path.isEmpty ? name : "\(path).\(name)", kind: kind.isEmpty ? name : "\(kind).\(name)")
        }

        func element(_ index: Int) -> Place { Place(path: "\(path)[\(index)]", kind: kind) }
    }

    private static func first(
        in given: JSONValue, _ known: JSONValue, _ place: Place, nullable: [String: [String]]
    ) -> String? {
        switch (given, known) {
        case (.object(let given), .object(let known)):
            for (name, value) in given.sorted(by: { $0.key < $1.key }) {
                let inner = place.field(name)
                if let match = known[name] {
                    if let found = first(in: value, match, inner, nullable: nullable) { return found }
                    continue
                }
                // A field that is null is the same as one that is absent, if it is one.
                let isTop = place.kind.isEmpty
                guard case .null = value, isTop || nullable[place.kind]?.contains(name) == true else {
                    return inner.path
                }
            }
            return nil
        case (.list(let given), .list(let known)):
            for (index, pair) in zip(given, known).enumerated() {
                if let found = first(in: pair.0, pair.1, place.element(index), nullable: nullable) { return found }
            }
            return nil
        default: return nil
        }
    }
}

extension JSONValue {
    /// Whether there is an object in it, itself included.
    fileprivate var holdsObjects: Bool {
        switch self {
        case .object: true
        case .list(let elements): elements.contains(where: \.holdsObjects)
        default: false
        }
    }
}
