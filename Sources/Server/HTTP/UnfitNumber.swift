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

/// Any JSON value.
private enum JSONValue: Codable {
    case null
    case bool(Bool)
    case integer(Int64)
    case fraction(Double)
    case string(String)
    case list([JSONValue])
    case object([String: JSONValue])

    init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if container.decodeNil() {
            self = .null
        } else if let value = try? container.decode(String.self) {
            self = .string(value)
        } else if let value = try? container.decode([String: JSONValue].self) {
            self = .object(value)
        } else if let value = try? container.decode([JSONValue].self) {
            self = .list(value)
        } else if let value = try? container.decode(Bool.self) {
            self = .bool(value)
        } else if let value = try? container.decode(Int64.self) {
            self = .integer(value)
        } else {
            self = .fraction(try container.decode(Double.self))
        }
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        switch self {
        case .null: try container.encodeNil()
        case .bool(let value): try container.encode(value)
        case .integer(let value): try container.encode(value)
        case .fraction(let value): try container.encode(value)
        case .string(let value): try container.encode(value)
        case .list(let value): try container.encode(value)
        case .object(let value): try container.encode(value)
        }
    }

    /// Where in objects there are numbers that may not fit: fractions, and whole numbers out of a field's range.
    func fractions(under path: [String] = []) -> [[String]] {
        switch self {
        case .fraction: [path]
        case .integer(let value) where !(0...65_535).contains(value): [path]
        case .object(let fields):
            fields.sorted { $0.key < $1.key }.flatMap { $0.value.fractions(under: path + [$0.key]) }
        default: []
        }
    }

    mutating func replaceNumber(at path: ArraySlice<String>) {
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
