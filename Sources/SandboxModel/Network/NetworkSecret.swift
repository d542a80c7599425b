/// A secret that is put into requests on their way out; the guest knows its placeholder only.
///
/// Deliberately neither `Codable` nor printed with its value: it must not end up in a file or a log by accident.
public struct NetworkSecret: Sendable, Hashable, CustomStringConvertible {
    /// Also the environment variable that holds the placeholder in the guest.
    public var name: String
    /// What the guest has instead, and what is replaced by the value in requests to `hosts`.
    public var placeholder: String
    public var value: String
    /// Where it may go.
    public var hosts: [HostPattern]
    /// The header that is set to `format`, whatever the guest put there; nil: the placeholder is replaced wherever it
    /// stands in a header or in the request's target.
    public var header: String?
    /// With `header`: what it is set to, `{value}` being the secret.
    public var format: String

    public init(
        name: String, placeholder: String, value: String, hosts: [HostPattern], header: String? = nil,
        format: String = "{value}"
    ) {
        self.name = name
        self.placeholder = placeholder
        self.value = value
        self.hosts = hosts
        self.header = header
        self.format = format
    }

    public var description: String { "secret \(name) for \(hosts.map(\.description).joined(separator: ", "))" }
}

/// The authority of one sandbox whose certificates its proxy shows for hosts that have a secret.
public struct NetworkAuthority: Sendable, Hashable, CustomStringConvertible {
    /// PEM; installed in the guest.
    public var certificate: String
    /// PEM of the private key; never leaves the host, and is only stored encrypted.
    public var privateKey: String

    public init(certificate: String, privateKey: String) {
        self.certificate = certificate
        self.privateKey = privateKey
    }

    public var description: String { "a sandbox's certificate authority" }
}

/// All that decides over a sandbox's network.
public struct SandboxNetwork: Sendable, Hashable {
    public var policy: NetworkPolicy
    public var secrets: [NetworkSecret]
    /// There whenever there are secrets.
    public var authority: NetworkAuthority?

    public static let closed = SandboxNetwork(policy: .closed)

    public init(policy: NetworkPolicy, secrets: [NetworkSecret] = [], authority: NetworkAuthority? = nil) {
        self.policy = policy
        self.secrets = secrets
        self.authority = authority
    }
}
