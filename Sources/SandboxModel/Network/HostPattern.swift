/// A host name, or all names below one: `api.example.com`, `*.example.com`.
public struct HostPattern: Sendable, Hashable, CustomStringConvertible {
    /// In lower case, without a dot at the end; without the `*.` of a wildcard.
    public let name: String
    /// Whether it stands for all names below `name`, at any depth, and not for `name` itself.
    public let isWildcard: Bool

    /// Parses a name or `*.` and a name; nil for anything that cannot be a host's name, an address included.
    public init?(_ text: some StringProtocol) {
        let isWildcard = text.hasPrefix("*.")
        guard let name = HostPattern.normalized(isWildcard ? text.dropFirst(2) : text[...]) else { return nil }
        self.name = name
        self.isWildcard = isWildcard
    }

    public func matches(_ host: String) -> Bool {
        guard isWildcard else { return host == name }
        return host.utf8.count > name.utf8.count + 1 && host.hasSuffix("." + name)
    }

    public var description: String { isWildcard ? "*." + name : name }

    /// A host name as it is compared: lower case, without the dot at the end. Nil when it is none: 1-253 bytes, labels of
    /// 1-63 of a-z, 0-9, `-` and `_`, and the last label not all digits (RFC 1123, section 2.1), so that no address is
    /// taken for a name.
    public static func normalized(_ text: some StringProtocol) -> String? {
        var bytes = Array(text.utf8)
        if bytes.last == UInt8(ascii: ".") { bytes.removeLast() }
        guard (1...253).contains(bytes.count) else { return nil }
        var label = 0
        var isNumber = true
        for index in bytes.indices {
            let byte = bytes[index]
            switch byte {
            case UInt8(ascii: "."):
                guard label > 0, bytes[index - 1] != UInt8(ascii: "-") else { return nil }
                label = 0
                isNumber = true
                continue
            case UInt8(ascii: "0")...UInt8(ascii: "9"): break
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "_"): isNumber = false
            case UInt8(ascii: "A")...UInt8(ascii: "Z"):
                bytes[index] = byte + 32
                isNumber = false
            case UInt8(ascii: "-"):
                guard label > 0 else { return nil }
                isNumber = false
            default: return nil
            }
            label += 1
            guard label <= 63 else { return nil }
        }
        guard label > 0, !isNumber, bytes.last != UInt8(ascii: "-") else { return nil }
        return String(decoding: bytes, as: UTF8.self)
    }
}

extension HostPattern: Codable {
    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        let text = try container.decode(String.self)
        guard let value = HostPattern(text) else {
            throw DecodingError.dataCorruptedError(
                in: container,
                debugDescription: "'\(text.prefix(80))' is not a host name such as api.example.com or *.example.com")
        }
        self = value
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}
