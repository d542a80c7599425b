import SandboxModel

/// Why the packet filter refuses something: the words of denials, each listed in `docs/networking.md`.
enum Refusal: String, CaseIterable, Sendable {
    // What leaves the guest's card and cannot be its own.
    case spoofedMAC = "spoofed-mac"
    case spoofedAddress = "spoofed-address"
    case spoofedARP = "spoofed-arp"
    case ipv6 = "ipv6"
    case otherEthertype = "other-ethertype"
    // What belongs to no connection.
    case invalidPacket = "invalid-packet"
    // What the policy, or that there is none, says of a connection.
    case networkOff = "network-off"
    case blockedAddress = "blocked-address"
    case deniedAddress = "address-denied"
    case addressNotAllowed = "address-not-allowed"
    case nameRequired = "name-required"
    case protocolNotAllowed = "protocol-not-allowed"
    case policyChanged = "policy-changed"
    case connectionLimit = "connection-limit"

    var kind: NetworkDenial.Kind {
        switch self {
        case .spoofedMAC, .spoofedAddress, .spoofedARP, .ipv6, .otherEthertype, .invalidPacket: .packet
        default: .connection
        }
    }

    /// What the rules of a policy mark a packet with, for the base rules to refuse it; only of reasons a policy has.
    var mark: UInt32? {
        switch self {
        case .blockedAddress: 16
        case .deniedAddress: 17
        case .addressNotAllowed: 18
        case .nameRequired: 19
        case .protocolNotAllowed: 20
        default: nil
        }
    }

    /// The name of the chain that refuses.
    var chain: String { rawValue.replacing("-", with: "_") }
}

/// What the rules of a policy mark a packet with that may go on. Without a mark it is refused.
enum Passage: UInt32, Sendable {
    /// Out, as it is.
    case direct = 1
    /// To the daemon's name server.
    case names = 2
    /// To the daemon's proxy.
    case proxy = 3
}
