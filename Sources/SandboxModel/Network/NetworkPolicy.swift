/// What a sandbox may reach. Private, link-local and other special addresses, the host's own among them, are out of reach
/// in every mode unless the operator opens them.
public struct NetworkPolicy: Sendable, Hashable, Codable {
    /// What is allowed where no rule says anything.
    public enum Mode: String, Sendable, Codable, CaseIterable {
        /// Nothing, name look-ups included.
        case none
        /// What `allow` lists.
        case allowlist
        /// Every public address, but for what `deny` lists.
        case `public`

        public init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            guard let value = Mode(rawValue: try container.decode(String.self)) else {
                throw DecodingError.dataCorruptedError(
                    in: container, debugDescription: "must be 'none', 'allowlist' or 'public'")
            }
            self = value
        }
    }

    /// How names are looked up.
    public struct Names: Sendable, Hashable, Codable {
        /// Name servers asked instead of the host's, each held to the blocked addresses like all else.
        public var servers: [IPv4Address]

        public init(servers: [IPv4Address]) { self.servers = servers }
    }

    /// Most entries of `allow` and `deny` together.
    public static let maxRules = 4096

    public var mode: Mode
    public var allow: [NetworkRule]
    /// Goes before `allow`.
    public var deny: [NetworkRule]
    public var dns: Names?
    /// Mbit/s, each way; nil is as fast as the host can.
    public var rateMbps: Int?
    /// Connections at once, UDP and TCP together; nil is `defaultMaxConnections`.
    public var maxConnections: Int?

    /// Enough for a package manager or browser, and no burden on the host's tables.
    public static let defaultMaxConnections = 1024

    /// Nothing is reached.
    public static let closed = NetworkPolicy(mode: .none)

    public init(
        mode: Mode, allow: [NetworkRule] = [], deny: [NetworkRule] = [], dns: Names? = nil, rateMbps: Int? = nil,
        maxConnections: Int? = nil
    ) {
        self.mode = mode
        self.allow = allow
        self.deny = deny
        self.dns = dns
        self.rateMbps = rateMbps
        self.maxConnections = maxConnections
    }

    enum CodingKeys: String, CodingKey {
        case mode, allow, deny, dns
        case rateMbps = "rate_mbps"
        case maxConnections = "max_connections"
    }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        mode = try container.decode(Mode.self, forKey: .mode)
        allow = try container.decodeIfPresent([NetworkRule].self, forKey: .allow) ?? []
        deny = try container.decodeIfPresent([NetworkRule].self, forKey: .deny) ?? []
        dns = try container.decodeIfPresent(Names.self, forKey: .dns)
        rateMbps = try container.decodeIfPresent(Int.self, forKey: .rateMbps)
        maxConnections = try container.decodeIfPresent(Int.self, forKey: .maxConnections)
    }

    /// Whether what is reached depends on names, so that every TCP connection is looked into.
    public var hasHostRules: Bool {
        (allow + deny).contains { if case .host = $0.target { true } else { false } }
    }

    /// Checks what decoding cannot.
    ///
    /// - Parameter field: where the policy stands; nil when it stands for itself.
    /// - Throws: `invalid_argument` naming the field.
    public func check(field: String? = "network") throws(MartletError) {
        let prefix = field.map { "\($0)." } ?? ""
        guard allow.count + deny.count <= NetworkPolicy.maxRules else {
            throw .invalid("\(prefix)allow", "has more than \(NetworkPolicy.maxRules) rules, those of deny included")
        }
        guard mode == .allowlist || allow.isEmpty else {
            throw .invalid("\(prefix)allow", "is for mode allowlist only")
        }
        guard mode != .none || deny.isEmpty else {
            throw .invalid("\(prefix)deny", "is of no use in mode none, which denies everything")
        }
        if let dns, !(1...4).contains(dns.servers.count) {
            throw .invalid("\(prefix)dns", "needs one to four servers")
        }
        if let rateMbps, !(1...100_000).contains(rateMbps) {
            throw .invalid("\(prefix)rate_mbps", "\(rateMbps) is outside 1...100000")
        }
        if let maxConnections, !(1...65_535).contains(maxConnections) {
            throw .invalid("\(prefix)max_connections", "\(maxConnections) is outside 1...65535")
        }
    }
}
