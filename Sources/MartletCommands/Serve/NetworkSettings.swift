import HostNetwork
import MartletClient
import SandboxModel

/// What the operator set about the networks of sandboxes, checked.
struct NetworkSettings: Sendable {
    /// Secrets may name variables of the daemon's that begin with this.
    static let secretPrefix = "MARTLET_SECRET_"

    var isEnabled: Bool
    /// nil: the first that is free.
    var subnet: IPv4Prefix?
    var opened: [NetworkRule]
    /// Empty: the host's own.
    var nameServers: [IPv4Address]
    /// What a sandbox may reach that asks for nothing.
    var defaultMode: NetworkPolicy.Mode
    /// Whether sandboxes go out under the host's address.
    var translates: Bool
    var pooledSlots: Int
    var trustRoots: String?
    /// What secrets may be read from.
    var secretVariables: [String: String]

    init(_ options: NetworkServeOptions, environment: [String: String]) throws {
        let given = Variables(environment)
        isEnabled = !options.noNetwork && !given.flag("MARTLET_NO_NETWORK")
        subnet =
            try options.networkSubnet ?? given.value("MARTLET_NETWORK_SUBNET", "an address range") { IPv4Prefix($0) }
        if let subnet, subnet.length != 16 {
            throw MartletError.invalid("network-subnet", "\(subnet) is no range of length 16, such as 10.201.0.0/16")
        }
        opened = try NetworkSettings.list(
            options.networkOpen, given.values("MARTLET_NETWORK_OPEN", "an address rule") { NetworkRule($0) })
        for rule in opened {
            guard case .addresses = rule.target else {
                throw MartletError.invalid("network-open", "\(rule): only addresses and ranges can be opened, no names")
            }
        }
        nameServers = try NetworkSettings.list(
            options.networkDns, given.values("MARTLET_NETWORK_DNS", "an IPv4 address") { IPv4Address($0) })
        defaultMode = try options.networkDefault ?? given.choice("MARTLET_NETWORK_DEFAULT") ?? .none
        guard defaultMode != .allowlist else {
            throw MartletError.invalid("network-default", "must be none or public; a list is for a sandbox to ask for")
        }
        guard isEnabled || defaultMode == .none else {
            throw MartletError.invalid("network-default", "\(defaultMode.rawValue) cannot be with --no-network")
        }
        translates = !options.networkRouted && !given.flag("MARTLET_NETWORK_ROUTED")
        let pool = try options.networkPool ?? given.number("MARTLET_NETWORK_POOL") ?? 16
        guard (0...4096).contains(pool) else {
            throw MartletError.invalid("network-pool", "\(pool) is outside 0...4096")
        }
        pooledSlots = pool
        trustRoots = (options.networkTrustRoots ?? given.text("MARTLET_NETWORK_TRUST_ROOTS"))
            .map { DataDirectory(path: $0).path }
        secretVariables = environment.filter { $0.key.hasPrefix(NetworkSettings.secretPrefix) }
    }

    /// Options go before the environment, as a whole.
    private static func list<Value>(_ options: [Value], _ environment: [Value]) -> [Value] {
        options.isEmpty ? environment : options
    }

    /// What the host's network is opened with.
    ///
    /// - Parameter directory: where it keeps what it has to remember.
    func configuration(directory: String) -> HostNetworkConfiguration {
        HostNetworkConfiguration(
            directory: directory, subnet: subnet, opened: opened, nameServers: nameServers, translates: translates,
            pooledSlots: pooledSlots, extraTrustRoots: trustRoots)
    }
}

extension Variables {
    /// - Parameter what: what it is meant to be, for the error.
    fileprivate func value<Value>(
        _ name: String, _ what: String, _ parse: (String) -> Value?
    ) throws(MartletError) -> Value? {
        guard let text = text(name) else { return nil }
        guard let value = parse(text) else { throw .invalid(name, "'\(text)' is not \(what)") }
        return value
    }

    /// Several of them with blanks between.
    fileprivate func values<Value>(
        _ name: String, _ what: String, _ parse: (String) -> Value?
    ) throws(MartletError) -> [Value] {
        try (text(name) ?? "").split(separator: " ").map { word throws(MartletError) in
            guard let value = parse(String(word)) else { throw .invalid(name, "'\(word)' is not \(what)") }
            return value
        }
    }
}
