import SandboxModel

/// Body of `PUT …/{id}/network`: the policy itself.
extension NetworkPolicy: APIRequest {
    public static var fields: [String] { ["mode", "allow", "deny", "dns", "rate_mbps", "max_connections"] }
    public static var innerFields: [String: [String]] { ["dns": ["servers"]] }
}

/// A secret as it is given: put into requests to its hosts on their way out. The guest gets a placeholder.
public struct SecretRequest: Codable, Sendable {
    /// Where the value comes from; one of the two.
    public struct Source: Codable, Sendable, CustomStringConvertible, CustomDebugStringConvertible {
        public var value: String?
        /// A variable of the daemon's environment, named `MARTLET_SECRET_…`; for administrators' keys only.
        public var env: String?

        public init(value: String) { self.value = value }
        public init(env: String) { self.env = env }

        /// Never the value.
        public var description: String { env.map { "variable \($0)" } ?? "a value" }
        public var debugDescription: String { description }
    }

    /// Also the environment variable that holds the placeholder in the guest.
    public var name: String
    public var valueFrom: Source
    /// Where it may go, over TLS on port 443.
    public var hosts: [HostPattern]
    /// The header to set; without it the placeholder is replaced wherever it stands in a header or the request's target.
    public var header: String?
    /// With `header`: what to set it to; `{value}`, which stands for the secret, if absent.
    public var format: String?

    public init(
        name: String, valueFrom: Source, hosts: [HostPattern], header: String? = nil, format: String? = nil
    ) {
        self.name = name
        self.valueFrom = valueFrom
        self.hosts = hosts
        self.header = header
        self.format = format
    }

    enum CodingKeys: String, CodingKey, CaseIterable {
        case name, hosts, header, format
        case valueFrom = "value_from"
    }

    /// The names within requests that have a network and secrets.
    static let innerFields: [String: [String]] = [
        "network": NetworkPolicy.fields, "network.dns": ["servers"],
        "secrets": CodingKeys.allCases.map(\.rawValue), "secrets.value_from": ["value", "env"],
    ]
}

/// What is told of a sandbox's secret beside the sandbox.
public struct SecretSummary: Codable, Sendable, Equatable {
    public var name: String
    public var hosts: [HostPattern]

    public init(name: String, hosts: [HostPattern]) {
        self.name = name
        self.hosts = hosts
    }
}

/// `GET …/{id}/network`: what a sandbox may reach, and what it did.
public struct NetworkResource: Codable, Sendable {
    /// A secret, without its value.
    public struct Secret: Codable, Sendable, Equatable {
        public var name: String
        public var hosts: [HostPattern]
        public var header: String?
        /// What the guest has in place of the value.
        public var placeholder: String

        public init(name: String, hosts: [HostPattern], header: String?, placeholder: String) {
            self.name = name
            self.hosts = hosts
            self.header = header
            self.placeholder = placeholder
        }
    }

    public var policy: NetworkPolicy
    public var secrets: [Secret]
    /// The sandbox's address on the host's side; nil while it does not run, or where there is no network.
    public var address: IPv4Address?
    /// Since it was created or last resumed; nil while it does not run, or where there is no network.
    public var counters: NetworkCounters?
    /// Why everything is refused whatever the policy says, if so.
    public var problem: String?

    public init(
        policy: NetworkPolicy, secrets: [Secret], address: IPv4Address? = nil, counters: NetworkCounters? = nil,
        problem: String? = nil
    ) {
        self.policy = policy
        self.secrets = secrets
        self.address = address
        self.counters = counters
        self.problem = problem
    }
}
