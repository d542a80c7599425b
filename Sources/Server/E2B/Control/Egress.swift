import E2BProtocol
import MartletAPI
import SandboxModel

/// What a client of E2B wants its sandbox to reach, as a policy of ours.
///
/// E2B's rule: what `allowOut` lists is reached; of the rest, what `denyOut` lists is not; all else is. Ours: `deny` goes
/// before `allow`, and `allow` is for a policy that denies the rest. So denied ranges lose what is allowed in them.
struct Egress: Sendable {
    /// Everything, as clients write it.
    static let allTraffic = "0.0.0.0/0"
    private static let maxRules = 1024

    let policy: NetworkPolicy
    /// Headers to be put into requests; the guest is given placeholders it has no use for.
    let secrets: [SecretRequest]

    /// - Throws: `invalid_argument`, `unsupported`.
    init(_ config: NetworkConfig?, internetAccess: Bool?) throws(MartletError) {
        guard config?.egressProxy == nil else {
            throw MartletError(.unsupported, "network.egressProxy: this server sends traffic out directly")
        }
        let allow = try Egress.rules(config?.allowOut ?? [], field: "network.allowOut")
        var deny: [IPv4Prefix] = []
        var deniesAll = internetAccess == false
        for text in config?.denyOut ?? [] {
            guard text != Egress.allTraffic, text != "::/0" else {
                deniesAll = true
                continue
            }
            guard let prefix = IPv4Prefix(text) else {
                throw .invalid("network.denyOut", "'\(text.prefix(80))' is not an IPv4 address or range")
            }
            deny.append(prefix)
        }
        guard allow.count + deny.count <= Egress.maxRules else {
            throw .invalid("network", "has more than \(Egress.maxRules) rules")
        }
        policy = try Egress.policy(allow, deny, deniesAll: deniesAll, names: try Egress.servers(config?.dnsServers))
        secrets = try Egress.secrets(config?.rules ?? [:])
    }

    private static func policy(
        _ allow: [NetworkRule], _ deny: [IPv4Prefix], deniesAll: Bool, names: NetworkPolicy.Names?
    ) throws(MartletError) -> NetworkPolicy {
        if deniesAll {
            return allow.isEmpty ? .closed : NetworkPolicy(mode: .allowlist, allow: allow, dns: names)
        }
        var spared: [IPv4Prefix] = []
        for rule in allow {
            guard case .addresses(let prefix) = rule.target else {
                throw .invalid(
                    "network.allowOut", "names hosts, which needs all else denied: add '\(allTraffic)' to denyOut")
            }
            spared.append(prefix)
        }
        let left = deny.flatMap { $0.without(spared) }
        return NetworkPolicy(mode: .public, deny: left.map { NetworkRule(.addresses($0)) }, dns: names)
    }

    private static func rules(_ texts: [String], field: String) throws(MartletError) -> [NetworkRule] {
        var rules: [NetworkRule] = []
        for text in texts {
            guard let rule = NetworkRule(text) else {
                throw .invalid(field, "'\(text.prefix(80))' is no IPv4 address or range, and no host name")
            }
            rules.append(rule)
        }
        return rules
    }

    private static func servers(_ texts: [String]?) throws(MartletError) -> NetworkPolicy.Names? {
        guard let texts, !texts.isEmpty else { return nil }
        var servers: [IPv4Address] = []
        for text in texts {
            guard let address = IPv4Address(text) else {
                throw .invalid("network.dnsServers", "'\(text.prefix(40))' is not an IPv4 address")
            }
            servers.append(address)
        }
        return NetworkPolicy.Names(servers: servers)
    }

    private static func secrets(_ rules: [String: [NetworkConfig.Rule]]) throws(MartletError) -> [SecretRequest] {
        var secrets: [SecretRequest] = []
        for (host, rules) in rules.sorted(by: { $0.key < $1.key }) {
            guard let pattern = HostPattern(host) else {
                throw .invalid("network.rules", "'\(host.prefix(80))' is not a host's name")
            }
            for rule in rules {
                for (header, value) in (rule.transform?.headers ?? [:]).sorted(by: { $0.key < $1.key }) {
                    secrets.append(
                        SecretRequest(
                            name: "E2B_RULE_\(secrets.count + 1)", valueFrom: .init(value: value), hosts: [pattern],
                            header: header))
                }
            }
        }
        return secrets
    }
}

extension IPv4Prefix {
    /// The ranges that cover this one but for what others cover.
    func without(_ others: [IPv4Prefix]) -> [IPv4Prefix] {
        guard others.contains(where: { overlaps($0) }) else { return [self] }
        if others.contains(where: { $0.length <= length && $0.contains(address) }) { return [] }
        let lower = IPv4Prefix(address, length: length + 1)
        let upper = IPv4Prefix(IPv4Address(bits: address.bits | 1 << UInt32(31 - length)), length: length + 1)
        return lower.without(others) + upper.without(others)
    }
}
