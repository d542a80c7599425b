import FoundationEssentials
import Hummingbird
import MartletAPI
import NIOCore
import SandboxModel

/// JSON as the API reads and writes it: every field known and of its type, and errors that name the field.
enum StrictJSON {
    /// The largest body that is read.
    static let maxBytes = 1 << 20

    /// Decodes a request body; an empty one counts as `{}`.
    ///
    /// - Throws: `invalid_argument` naming the field.
    static func decode<Body: APIRequest>(_ type: Body.Type, from bytes: [UInt8]) throws(MartletError) -> Body {
        guard String(validating: bytes, as: UTF8.self) != nil else { throw .invalid("body", "is not UTF-8") }
        let data = bytes.isEmpty ? Data("{}".utf8) : Data(bytes)
        let decoder = JSONDecoder()
        do {
            let fields = try decoder.decode(FieldNames.self, from: data).names
            if let unknown = fields.first(where: { !type.fields.contains($0) }) {
                throw MartletError.invalid(String(unknown.prefix(64)), "is not a field of this request")
            }
            let body = try decoder.decode(type, from: data)
            if let unknown = try UnknownField.first(in: data, of: type, made: try JSONEncoder().encode(body)) {
                throw MartletError.invalid(unknown, "is not a field of this request")
            }
            return body
        } catch let error as MartletError {
            throw error
        } catch let error as DecodingError {
            throw UnfitNumber.error(decoding: type, from: data, after: error) ?? described(error)
        } catch {
            throw .invalid("body", "is not valid JSON")
        }
    }

    private static func described(_ error: DecodingError) -> MartletError {
        func name(_ path: [any CodingKey]) -> String {
            let text = path.reduce(into: "") { text, key in
                if let index = key.intValue {
                    text += "[\(index)]"
                } else {
                    text += (text.isEmpty ? "" : ".") + key.stringValue
                }
            }
            return text.isEmpty ? "body" : String(text.prefix(100))
        }
        switch error {
        case .keyNotFound(let key, let context): return .invalid(name(context.codingPath + [key]), "is missing")
        case .valueNotFound(_, let context): return .invalid(name(context.codingPath), "must not be null")
        case .typeMismatch(let type, let context):
            return .invalid(name(context.codingPath), "has the wrong type; expected \(word(for: type))")
        case .dataCorrupted(let context):
            let field = name(context.codingPath)
            return .invalid(field, field == "body" ? "is not valid JSON" : context.debugDescription)
        @unknown default: return .invalid("body", "cannot be read")
        }
    }

    private static func word(for type: Any.Type) -> String {
        switch type {
        case is String.Type: "a string"
        case is Bool.Type: "true or false"
        case is Double.Type: "a number"
        case is any FixedWidthInteger.Type: "a whole number"
        case is any ExpressibleByArrayLiteral.Type: "a list"
        default: "an object"
        }
    }

    /// An answer as JSON.
    static func response(
        _ value: some Encodable, status: HTTPResponse.Status = .ok, headers: HTTPFields = [:]
    ) throws -> Response {
        var headers = headers
        headers[.contentType] = "application/json"
        return Response(status: status, headers: headers, body: .init(byteBuffer: try encode(value)))
    }

    static func encode(_ value: some Encodable) throws -> ByteBuffer {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return ByteBuffer(bytes: try encoder.encode(value))
    }
}

/// The names in a JSON object, in no order; fails for anything that is no object.
private struct FieldNames: Decodable {
    let names: [String]

    init(from decoder: any Decoder) throws {
        names = try decoder.container(keyedBy: AnyKey.self).allKeys.map(\.stringValue).sorted()
    }
}

private struct AnyKey: CodingKey {
    var stringValue: String
    var intValue: Int? { nil }
    init(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
}
