import SandboxModel

/// The stable words for why something is refused; `docs/networking.md` tells of each.
enum RefusalRule: String, Sendable {
    case hostNotAllowed = "host-not-allowed"
    case hostMismatch = "host-mismatch"
    case networkOff = "network-off"
    case addressNotAllowed = "address-not-allowed"
    case addressDenied = "address-denied"
    case blockedAddress = "blocked-address"
    case portNotAllowed = "port-not-allowed"
    case noServerName = "no-sni"
    case encryptedServerName = "encrypted-sni"
    case noHost = "no-host"
    case notTLS = "not-tls"
    case notHTTP = "not-http"
    case proxyRequest = "proxy-request"
    case connectionLimit = "connection-limit"
    case lookupNotAllowed = "lookup-not-allowed"
    case lookupType = "lookup-type"
    case lookupRate = "lookup-rate"
    case rebinding
}

/// Where a connection wanted to go, before it was led here.
struct Destination: Sendable, Hashable, CustomStringConvertible {
    var address: IPv4Address
    var port: UInt16

    var description: String { "\(address):\(port)" }
}

/// A policy with its secrets as decisions need it. Pure: says what is allowed, knows nothing of connections.
struct EgressRules: Sendable {
    /// What a destination may be used for.
    enum Gate: Sendable, Equatable {
        /// Whatever is spoken there: names decide nothing.
        case open
        /// What is spoken there has to be for a name that is allowed.
        case named
        case refused(RefusalRule)
    }

    private static let everyPort = [PortRange(1, 65_535)]

    let network: SandboxNetwork
    private let allowedHosts: NameRules
    private let deniedHosts: NameRules
    private let allowedAddresses: AddressRules
    private let deniedAddresses: AddressRules
    private let secretHosts: NameRules
    /// Whether what is reached depends on names.
    let namesDecide: Bool

    var policy: NetworkPolicy { network.policy }
    var maxConnections: Int { policy.maxConnections ?? NetworkPolicy.defaultMaxConnections }

    init(_ network: SandboxNetwork) {
        self.network = network
        let policy = network.policy
        allowedHosts = NameRules(policy.allow, portsUnlessSaid: NetworkRule.defaultHostPorts)
        // Who denies a name and says no more means the name, not two ports of it.
        deniedHosts = NameRules(policy.deny, portsUnlessSaid: EgressRules.everyPort)
        allowedAddresses = AddressRules(policy.allow)
        deniedAddresses = AddressRules(policy.deny)
        secretHosts = NameRules(
            network.secrets.flatMap(\.hosts).map { NetworkRule(.host($0)) }, portsUnlessSaid: EgressRules.everyPort)
        namesDecide = policy.mode == .allowlist || !deniedHosts.isEmpty
    }

    // MARK: Addresses

    /// What may be done at a destination, as far as its address tells.
    func gate(_ destination: Destination, isBlocked: (IPv4Address, UInt16?) -> Bool) -> Gate {
        guard policy.mode != .none else { return .refused(.networkOff) }
        if isBlocked(destination.address, destination.port) { return .refused(.blockedAddress) }
        if deniedAddresses.covers(destination.address, port: destination.port) {
            return .refused(.addressDenied)
        }
        if policy.mode == .allowlist, allowedAddresses.covers(destination.address, port: destination.port) {
            return .open
        }
        return namesDecide ? .named : .open
    }

    // MARK: Names

    /// Why a name may not be reached on a port; nil where it may.
    ///
    /// Preconditions: `name` is normalized.
    func refusal(of name: String, port: UInt16) -> RefusalRule? {
        if deniedHosts.ports(of: name).contains(where: { $0.contains(port) }) { return .hostNotAllowed }
        switch policy.mode {
        case .none: return .hostNotAllowed
        case .public: return nil
        case .allowlist:
            let ports = allowedHosts.ports(of: name)
            if ports.isEmpty { return .hostNotAllowed }
            return ports.contains { $0.contains(port) } ? nil : .portNotAllowed
        }
    }

    /// Whether a name may be looked up: where it is allowed on some port.
    func mayLookUp(_ name: String) -> Bool {
        let denied = deniedHosts.ports(of: name)
        switch policy.mode {
        case .none: return false
        case .public: return !EgressRules.coversAll(denied, of: EgressRules.everyPort)
        case .allowlist:
            let allowed = allowedHosts.ports(of: name)
            return !allowed.isEmpty && !EgressRules.coversAll(denied, of: allowed)
        }
    }

    private static func coversAll(_ denied: [PortRange], of ports: [PortRange]) -> Bool {
        guard !denied.isEmpty else { return false }
        let sorted = denied.sorted { $0.first < $1.first }
        return ports.allSatisfy { range in
            var next = Int(range.first)
            for one in sorted where Int(one.first) <= next { next = max(next, Int(one.last) + 1) }
            return next > Int(range.last)
        }
    }

    // MARK: Secrets

    /// Whether TLS with a name is ended here, to put secrets in.
    func hasSecrets(for name: String) -> Bool { !secretHosts.ports(of: name).isEmpty }

    func secrets(for name: String) -> [NetworkSecret] {
        network.secrets.filter { secret in secret.hosts.contains { $0.matches(name) } }
    }
}
