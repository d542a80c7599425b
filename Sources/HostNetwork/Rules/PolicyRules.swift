import SandboxModel

/// The rules of one policy: every packet of the guest, and every answer to one, is decided on by what its connection was
/// first meant for, so that a change reaches connections there are.
struct PolicyRules: Equatable, Sendable {
    static let table = "martlet_policy"

    /// Removes what `definition` makes, whether it is there or not.
    static let removal = "table ip \(table)\ndelete table ip \(table)\n"

    /// Makes the rules; empty where nothing is to pass.
    let definition: String
    /// Sets the bound on connections; on its own, since those there are are not counted after it.
    let limitScript: String
    /// Whether look-ups are answered.
    let needsNames: Bool
    /// Whether there is TCP that names decide over.
    let needsProxy: Bool
    let maxConnections: Int
    /// Bytes a second each way.
    let rate: UInt64?

    init(_ network: SandboxNetwork, facts: SlotRules.Facts) {
        let policy = network.policy
        maxConnections = policy.maxConnections ?? NetworkPolicy.defaultMaxConnections
        rate = policy.rateMbps.map { UInt64($0) * 1_000_000 / 8 }
        needsNames = policy.mode != .none
        needsProxy = PolicyRules.needsProxy(network)
        if policy.mode == .none {
            definition = ""
        } else {
            let rules = SlotRules.indented(PolicyRules.rules(network, facts))
            definition = "table ip \(PolicyRules.table) {\n\(rules)\n}\n"
        }
        limitScript = """
            flush chain ip \(SlotRules.table) connections
            add rule ip \(SlotRules.table) connections \(SlotRules.limit(maxConnections))

            """
    }

    /// The transaction that puts them in the place of others; nil others may be anything.
    func script(replacing others: PolicyRules?) -> String {
        let removal = others?.definition.isEmpty == true ? "" : PolicyRules.removal
        return removal + definition + (others?.maxConnections == maxConnections ? "" : limitScript)
    }

    private static func needsProxy(_ network: SandboxNetwork) -> Bool {
        switch network.policy.mode {
        case .none: false
        case .allowlist, .public: network.policy.hasHostRules || !network.secrets.isEmpty
        }
    }

    private static func rules(_ network: SandboxNetwork, _ facts: SlotRules.Facts) -> [String] {
        let policy = network.policy
        let blocked = AddressSets("blocked", facts.blocked.map { .init(prefix: $0, ports: []) })
        let opened = AddressSets("opened", rules: facts.opened)
        let denied = AddressSets("denied", rules: policy.deny)
        let allowed = AddressSets("allowed", rules: policy.allow)
        let isOpened = opened.rules("goto policy_deny")
        var decide = [
            "ct original protocol { tcp, udp } ct original proto-dst \(SlotRules.namePort) \(pass(.names))",
            "ct original ip daddr { \(facts.subnet), \(SlotRules.gatewayNetwork) } \(refuse(.blockedAddress))",
        ]
        decide += isOpened + blocked.rules(refuse(.blockedAddress)) + ["goto policy_deny"]
        return [blocked, opened, denied, allowed].flatMap(\.declarations)
            + SlotRules.chain("policy_allow", allow(network, allowed))
            + SlotRules.chain("policy_deny", denied.rules(refuse(.deniedAddress)) + ["goto policy_allow"])
            + SlotRules.chain("decide", decide)
            + SlotRules.chain(
                "prerouting",
                [
                    "type filter hook prerouting priority -150; policy accept;",
                    "iifname \"\(SlotRules.tap)\" ct direction original goto decide",
                    "iifname \"\(SlotRules.uplink)\" ct direction reply goto decide",
                ])
    }

    /// What is neither blocked nor denied.
    private static func allow(_ network: SandboxNetwork, _ allowed: AddressSets) -> [String] {
        let policy = network.policy
        var rules: [String] = []
        if !network.secrets.isEmpty {
            // Secrets are put in by the proxy; over QUIC they could not be, and clients then fall back to TCP.
            rules.append("ct original protocol tcp ct original proto-dst 443 \(pass(.proxy))")
            rules.append("ct original protocol udp ct original proto-dst 443 \(refuse(.nameRequired))")
        }
        switch policy.mode {
        case .none:
            break
        case .allowlist:
            rules += allowed.rules(pass(.direct))
            if policy.hasHostRules { rules.append("ct original protocol tcp \(pass(.proxy))") }
            rules.append(refuse(.addressNotAllowed))
        case .public:
            if policy.hasHostRules {
                rules.append("ct original protocol tcp \(pass(.proxy))")
                rules.append(refuse(.nameRequired))
            } else {
                rules.append("ct original protocol { tcp, udp, icmp } \(pass(.direct))")
                rules.append(refuse(.protocolNotAllowed))
            }
        }
        return rules
    }

    private static func pass(_ passage: Passage) -> String { "meta mark set \(passage.rawValue) return" }

    private static func refuse(_ refusal: Refusal) -> String {
        "meta mark set \(refusal.mark ?? 0) return"
    }
}
