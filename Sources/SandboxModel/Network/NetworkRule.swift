/// Ports from one to another, both included.
public struct PortRange: Sendable, Hashable, CustomStringConvertible {
    public let first: UInt16
    public let last: UInt16

    /// Preconditions: `1 <= first <= last`.
    public init(_ first: UInt16, _ last: UInt16) {
        self.first = first
        self.last = last
    }

    /// Parses `PORT` or `FIRST-LAST`; nil for anything else.
    public init?(_ text: some StringProtocol) {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        guard (1...2).contains(parts.count), let first = PortRange.port(parts[0]),
            let last = parts.count == 2 ? PortRange.port(parts[1]) : first, first <= last
        else { return nil }
        self.init(first, last)
    }

    /// Parses a port, 1...65535.
    public static func port(_ text: some StringProtocol) -> UInt16? {
        guard (1...5).contains(text.utf8.count), text.utf8.allSatisfy({ (48...57).contains($0) }),
            let number = UInt16(text), number > 0
        else { return nil }
        return number
    }

    public func contains(_ port: UInt16) -> Bool { first <= port && port <= last }

    public var description: String { first == last ? "\(first)" : "\(first)-\(last)" }
}

/// One entry of a policy's `allow` or `deny`: `TARGET` or `TARGET:PORTS`, where the target is an address, a range of
/// addresses, a host name or a wildcard, and ports are `443`, `8000-8100` or several of these with commas.
public struct NetworkRule: Sendable, Hashable, CustomStringConvertible {
    /// What a rule is about.
    public enum Target: Sendable, Hashable {
        case addresses(IPv4Prefix)
        case host(HostPattern)
    }

    /// The ports of a host whose rule names none: those of HTTP and HTTPS.
    public static let defaultHostPorts = [PortRange(80, 80), PortRange(443, 443)]
    /// Most ranges of ports one rule may have.
    public static let maxPortRanges = 16

    public let target: Target
    /// As written; empty when the rule names none (see `effectivePorts`).
    public let ports: [PortRange]

    /// Preconditions: at most `maxPortRanges` ports.
    public init(_ target: Target, ports: [PortRange] = []) {
        self.target = target
        self.ports = ports
    }

    /// Parses a rule; nil for anything that is none.
    public init?(_ text: some StringProtocol) {
        let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        guard let head = parts.first else { return nil }
        if let prefix = IPv4Prefix(head) {
            target = .addresses(prefix)
        } else if let pattern = HostPattern(head) {
            target = .host(pattern)
        } else {
            return nil
        }
        guard parts.count == 2 else {
            ports = []
            return
        }
        let ranges = parts[1].split(separator: ",", omittingEmptySubsequences: false).map { PortRange($0) }
        guard (1...NetworkRule.maxPortRanges).contains(ranges.count), ranges.allSatisfy({ $0 != nil }) else {
            return nil
        }
        ports = ranges.compactMap(\.self)
    }

    /// The ports the rule is about: for a host without ports those of HTTP and HTTPS, for addresses every one.
    public var effectivePorts: [PortRange] {
        guard ports.isEmpty else { return ports }
        return switch target {
        case .addresses: [PortRange(1, 65_535)]
        case .host: NetworkRule.defaultHostPorts
        }
    }

    public func covers(port: UInt16) -> Bool { effectivePorts.contains { $0.contains(port) } }

    public var description: String {
        let head =
            switch target {
            case .addresses(let prefix): "\(prefix)"
            case .host(let pattern): "\(pattern)"
            }
        return ports.isEmpty ? head : head + ":" + ports.map(\.description).joined(separator: ",")
    }
}

extension NetworkRule: Codable {
    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        let text = try container.decode(String.self)
        guard let value = NetworkRule(text) else {
            throw DecodingError.dataCorruptedError(
                in: container,
                debugDescription:
                    "'\(text.prefix(80))' is not a rule: an IPv4 address or range, a host name or *.NAME, "
                    + "each with :PORTS if need be; IPv6 is off")
        }
        self = value
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}
