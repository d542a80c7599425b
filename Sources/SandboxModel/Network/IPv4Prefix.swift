/// A range of IPv4 addresses, written `ADDRESS/LENGTH`; a single address is one of length 32.
public struct IPv4Prefix: Sendable, Hashable, CustomStringConvertible {
    /// The first address of the range.
    public let address: IPv4Address
    /// Leading bits that all addresses have in common, 0...32.
    public let length: Int

    /// The range of this length around an address.
    ///
    /// Preconditions: `length` is within 0...32.
    public init(_ address: IPv4Address, length: Int) {
        self.address = IPv4Address(bits: address.bits & IPv4Prefix.mask(length))
        self.length = length
    }

    /// Parses `ADDRESS` or `ADDRESS/LENGTH`; nil for anything else, also when bits behind the prefix are set, since
    /// then it is not clear what was meant.
    public init?(_ text: some StringProtocol) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard let first = parts.first, let address = IPv4Address(first), parts.count <= 2 else { return nil }
        var length = 32
        if parts.count == 2 {
            guard (1...2).contains(parts[1].utf8.count), parts[1].utf8.allSatisfy({ (48...57).contains($0) }),
                let number = Int(parts[1]), number <= 32
            else { return nil }
            length = number
        }
        self.init(address, length: length)
        guard self.address == address else { return nil }
    }

    private static func mask(_ length: Int) -> UInt32 { length == 0 ? 0 : ~0 << UInt32(32 - length) }

    /// The last address of the range.
    public var last: IPv4Address { IPv4Address(bits: address.bits | ~IPv4Prefix.mask(length)) }

    public func contains(_ other: IPv4Address) -> Bool { other.bits & IPv4Prefix.mask(length) == address.bits }

    public func overlaps(_ other: IPv4Prefix) -> Bool { contains(other.address) || other.contains(address) }

    public var description: String { length == 32 ? "\(address)" : "\(address)/\(length)" }
}

extension IPv4Prefix: Codable {
    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        let text = try container.decode(String.self)
        guard let value = IPv4Prefix(text) else {
            throw DecodingError.dataCorruptedError(
                in: container,
                debugDescription: "'\(text.prefix(40))' is not an IPv4 address or range such as 10.0.0.0/8")
        }
        self = value
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}
