import FoundationEssentials
import SandboxModel

/// Finds the number that a request's type cannot hold, such as 1.5 for a count: the decoder calls the whole body
/// invalid then, without saying where.
enum UnfitNumber {
    /// Larger bodies are not searched.
    private static let maxBytes = 65_536

    /// The error naming the field; nil when the failure is of another kind.
    static func error(
        decoding type: any Decodable.Type, from data: Data, after error: DecodingError
    ) -> MartletError? {
        guard isNameless(error), data.count <= maxBytes,
            var value = try? JSONDecoder().decode(JSONValue.self, from: data)
        else { return nil }
        // One after another the candidates are replaced by what fits anywhere; the one that mends the body was it.
        for path in value.fractions() {
            value.replaceNumber(at: path[...])
            guard let mended = try? JSONEncoder().encode(value) else { return nil }
            do {
                _ = try JSONDecoder().decode(type, from: mended)
            } catch let error as DecodingError where isNameless(error) {
                continue
            } catch {}
            return .invalid(path.joined(separator: "."), "is a number that does not fit; expected a whole number")
        }
        return nil
    }

    private static func isNameless(_ error: DecodingError) -> Bool {
        guard case .dataCorrupted(let context) = error else { return false }
        return context.codingPath.isEmpty
    }
}

extension JSONValue {
    /// Where in objects there are numbers that may not fit: fractions, and whole numbers out of a field's range.
    fileprivate func fractions(under path: [String] = []) -> [[String]] {
        switch self {
        case .fraction: [path]
        case .integer(let value) where !(0...65_535).contains(value): [path]
        case .object(let fields):
            fields.sorted { $0.key < $1.key }.flatMap { $0.value.fractions(under: path + [$0.key]) }
        default: []
        }
    }

    fileprivate mutating func replaceNumber(at path: ArraySlice<String>) {
        guard let name = path.first else {
            self = .integer(1)
            return
        }
        guard case .object(var fields) = self, var inner = fields[name] else { return }
        inner.replaceNumber(at: path.dropFirst())
        fields[name] = inner
        self = .object(fields)
    }
}
