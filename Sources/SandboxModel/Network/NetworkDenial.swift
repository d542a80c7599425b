/// Something a sandbox tried to reach and was refused.
public struct NetworkDenial: Sendable, Hashable, Codable {
    /// `connection`, `lookup` or `packet`.
    public enum Kind: String, Sendable, Codable, CaseIterable {
        case connection
        case lookup
        case packet
    }

    /// What a rule is called here that is not among `rules`.
    public static let otherRule = "other"
    /// Every rule of `docs/networking.md`, so that what is counted by rule is counted under few names.
    public static let rules: Set<String> = [
        "address-denied", "address-not-allowed", "blocked-address", "connection-limit", "encrypted-sni",
        "host-mismatch", "host-not-allowed", "invalid-packet", "ipv6", "lookup-not-allowed", "lookup-rate",
        "lookup-type", "name-required", "network-off", "no-host", "no-sni", "not-http", "not-tls", "other-ethertype",
        "policy-changed", "port-not-allowed", "protocol-not-allowed", "proxy-request", "rebinding", "spoofed-address",
        "spoofed-arp", "spoofed-mac",
    ]

    public var time: Timestamp
    public var kind: Kind
    /// Which rule refused it; one of `docs/networking.md`, for example `blocked-address` or `host-not-allowed`.
    public var rule: String
    /// `tcp`, `udp`, `icmp`, `arp`, `ipv6` or a number.
    public var transport: String
    public var name: String?
    public var address: String?
    public var port: UInt16?
    /// How often the same was refused within the second this stands for.
    public var count: Int

    public init(
        time: Timestamp, kind: Kind, rule: String, transport: String, name: String? = nil, address: String? = nil,
        port: UInt16? = nil, count: Int = 1
    ) {
        self.time = time
        self.kind = kind
        self.rule = rule
        self.transport = transport
        self.name = name
        self.address = address
        self.port = port
        self.count = count
    }
}

/// Bytes and packets that went out of a sandbox's network and came back, since the sandbox has this network.
public struct NetworkCounters: Sendable, Hashable, Codable {
    public var sentBytes: UInt64
    public var receivedBytes: UInt64
    public var sentPackets: UInt64
    public var receivedPackets: UInt64
    public var denied: UInt64

    public init(
        sentBytes: UInt64 = 0, receivedBytes: UInt64 = 0, sentPackets: UInt64 = 0, receivedPackets: UInt64 = 0,
        denied: UInt64 = 0
    ) {
        self.sentBytes = sentBytes
        self.receivedBytes = receivedBytes
        self.sentPackets = sentPackets
        self.receivedPackets = receivedPackets
        self.denied = denied
    }

    enum CodingKeys: String, CodingKey {
        case denied
        case sentBytes = "sent_bytes"
        case receivedBytes = "received_bytes"
        case sentPackets = "sent_packets"
        case receivedPackets = "received_packets"
    }
}
