import MartletAPI
import SandboxModel

/// The policies that attempts are made under; one guest each.
enum LabPolicy: String, Sendable, CaseIterable {
    /// Names, wildcards, ports and addresses that are allowed.
    case allowlist
    /// The internet, but for some addresses: no names decide.
    case open
    /// The internet, but for some names.
    case picky
    case none

    var policy: NetworkPolicy {
        switch self {
        case .allowlist:
            NetworkPolicy(
                mode: .allowlist,
                allow: rules(
                    "ok.example", "*.wild.example", "two.example", "shared-ok.example", "tcp.example:7000,7001,8080",
                    "h2.example", "files.example", "git.example", "pypi.example", "cname-ok.example",
                    "cname-out.example", "rebind.example", "mixed.example", "zero-ttl.example", "huge-ttl.example",
                    "private.example", "meta.example", "host.example", "loop.example", "gateway.example",
                    "93.184.230.0/24:7002", "93.184.231.5:8443"),
                deny: rules("secret.wild.example", "93.184.230.66"))
        case .open: NetworkPolicy(mode: .public, deny: rules("93.184.218.0/24", "93.184.217.0/24:80,7000-7100"))
        case .picky: NetworkPolicy(mode: .public, deny: rules("denied.example", "*.denied.example", "93.184.218.0/24"))
        case .none: NetworkPolicy(mode: .none)
        }
    }
}

/// Rules as users write them; one that cannot be read is a mistake of the test.
func rules(_ texts: String...) -> [NetworkRule] {
    texts.map { text in
        guard let rule = NetworkRule(text) else { preconditionFailure("\(text) is not a rule") }
        return rule
    }
}
