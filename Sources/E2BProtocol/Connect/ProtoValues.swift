import FoundationEssentials

/// A `bytes` field in protobuf's JSON: base 64, of either alphabet, padded or not.
/// https://protobuf.dev/programming-guides/json/
package struct ProtoBytes: Codable, Sendable, Equatable {
    package var bytes: [UInt8]

    package init(_ bytes: some Sequence<UInt8>) { self.bytes = Array(bytes) }

    package init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        var text = String(
            decoding: try container.decode(String.self).utf8.map { byte in
                switch byte {
                case UInt8(ascii: "-"): UInt8(ascii: "+")
                case UInt8(ascii: "_"): UInt8(ascii: "/")
                default: byte
                }
            }, as: UTF8.self)
        if text.utf8.count % 4 > 1 { text += String(repeating: "=", count: 4 - text.utf8.count % 4) }
        guard let data = Data(base64Encoded: text) else {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "is not base 64")
        }
        bytes = Array(data)
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(Data(bytes).base64EncodedString())
    }
}

/// An enum field in protobuf's JSON: its value's name, or its number.
package struct ProtoEnum<Value: CaseIterable & RawRepresentable<String> & ProtoNumbered>: Codable, Sendable, Equatable
where Value: Sendable & Equatable {
    /// nil for a value that is not known.
    package var value: Value?

    package init(_ value: Value) { self.value = value }

    package init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if let number = try? container.decode(Int.self) {
            value = Value.allCases.first { $0.number == number }
        } else {
            value = Value(rawValue: try container.decode(String.self))
        }
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(value?.rawValue)
    }
}

/// What has a number in a protobuf enum.
package protocol ProtoNumbered {
    var number: Int { get }
}

/// Reads and writes messages as protobuf's JSON: fields nobody knows are passed over, absent ones are their zero.
package enum ProtoJSON {
    package static func decode<Message: Decodable>(
        _ type: Message.Type = Message.self, from bytes: [UInt8]
    ) throws(ConnectError) -> Message {
        do {
            return try JSONDecoder().decode(type, from: bytes.isEmpty ? Data("{}".utf8) : Data(bytes))
        } catch let error as DecodingError {
            throw ConnectError(.invalidArgument, "message: \(describe(error))")
        } catch {
            throw ConnectError(.invalidArgument, "message: it cannot be read")
        }
    }

    package static func encode(_ message: some Encodable) throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.withoutEscapingSlashes]
        return Array(try encoder.encode(message))
    }

    /// Where a body is not what it should be.
    package static func describe(_ error: DecodingError) -> String {
        func name(_ path: [any CodingKey]) -> String {
            let text = path.map(\.stringValue).joined(separator: ".")
            return text.isEmpty ? "body" : String(text.prefix(100))
        }
        switch error {
        case .keyNotFound(let key, let context): return "\(name(context.codingPath + [key])) is missing"
        case .valueNotFound(_, let context): return "\(name(context.codingPath)) must not be null"
        case .typeMismatch(_, let context): return "\(name(context.codingPath)) has the wrong type"
        case .dataCorrupted(let context):
            return context.codingPath.isEmpty
                ? "body is not valid JSON" : "\(name(context.codingPath)) \(context.debugDescription)"
        @unknown default: return "body cannot be read"
        }
    }
}
