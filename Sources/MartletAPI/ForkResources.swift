import SandboxModel

/// Body of `POST /v1/sandboxes/{id}/fork`.
public struct ForkSandboxRequest: APIRequest {
    /// How many children; 1 if absent.
    public var count: Int?
    public var timeoutSeconds: Int?
    public var metadata: [String: String]?
    /// For processes started in the children from now on.
    public var env: [String: String]?
    /// Whether those have the source's environment too; false if absent.
    public var inheritEnv: Bool?
    /// The number of a checkpoint to go on from, instead of from now.
    public var at: Int?
    /// What the children may reach; what the source may, if absent.
    public var network: NetworkPolicy?
    public var secrets: [SecretRequest]?
    /// Whether the children have the source's secrets too; false if absent.
    public var inheritSecrets: Bool?

    public init(
        count: Int? = nil, timeoutSeconds: Int? = nil, metadata: [String: String]? = nil,
        env: [String: String]? = nil, inheritEnv: Bool? = nil, at: Int? = nil,
        network: NetworkPolicy? = nil, secrets: [SecretRequest]? = nil, inheritSecrets: Bool? = nil
    ) {
        self.count = count
        self.timeoutSeconds = timeoutSeconds
        self.metadata = metadata
        self.env = env
        self.inheritEnv = inheritEnv
        self.at = at
        self.network = network
        self.secrets = secrets
        self.inheritSecrets = inheritSecrets
    }

    enum CodingKeys: String, CodingKey, CaseIterable {
        case count, metadata, env, at, network, secrets
        case timeoutSeconds = "timeout_seconds"
        case inheritEnv = "inherit_env"
        case inheritSecrets = "inherit_secrets"
    }
    public static var fields: [String] { CodingKeys.allCases.map(\.rawValue) }
    public static var innerFields: [String: [String]] { SecretRequest.innerFields }
}

/// Body of `POST /v1/snapshots/{id}/fork`.
public struct ForkSnapshotRequest: APIRequest {
    /// How many children; 1 if absent.
    public var count: Int?
    public var timeoutSeconds: Int?
    public var metadata: [String: String]?
    /// For processes started in the children from now on.
    public var env: [String: String]?
    /// Whether those have the source's environment too; false if absent.
    public var inheritEnv: Bool?
    /// What the children may reach; what the snapshot's sandbox might, if absent.
    public var network: NetworkPolicy?
    public var secrets: [SecretRequest]?

    public init(
        count: Int? = nil, timeoutSeconds: Int? = nil, metadata: [String: String]? = nil,
        env: [String: String]? = nil, inheritEnv: Bool? = nil, network: NetworkPolicy? = nil,
        secrets: [SecretRequest]? = nil
    ) {
        self.count = count
        self.timeoutSeconds = timeoutSeconds
        self.metadata = metadata
        self.env = env
        self.inheritEnv = inheritEnv
        self.network = network
        self.secrets = secrets
    }

    enum CodingKeys: String, CodingKey, CaseIterable {
        case count, metadata, env, network, secrets
        case timeoutSeconds = "timeout_seconds"
        case inheritEnv = "inherit_env"
    }
    public static var fields: [String] { CodingKeys.allCases.map(\.rawValue) }
    public static var innerFields: [String: [String]] { SecretRequest.innerFields }
}

/// What the children of a fork go on from.
public enum ForkOrigin: String, Codable, Sendable, CaseIterable {
    case running, paused, snapshot, checkpoint
}

/// What came of a fork.
public struct ForkResult: Codable, Sendable {
    /// One child: a sandbox, or why it was not made.
    public struct Child: Codable, Sendable {
        public var sandbox: SandboxResource?
        public var error: Failure?

        public init(sandbox: SandboxResource) { self.sandbox = sandbox }
        public init(error: Failure) { self.error = error }
    }

    /// Why a child was not made.
    public struct Failure: Codable, Sendable {
        public var code: String
        public var message: String
        public var details: [String: String]

        public init(_ error: MartletError) {
            code = error.code.rawValue
            message = error.message
            details = error.details
        }
    }

    /// The instant all children go on from.
    public var capturedAt: Timestamp
    /// For how long the source's programs stood still, in milliseconds; 0 when they did already.
    public var pauseMilliseconds: Double
    public var source: ForkOrigin
    /// The snapshot's or checkpoint's id, when the source is one.
    public var snapshot: String?
    /// In order, one per child asked for.
    public var forks: [Child]

    public init(
        capturedAt: Timestamp, pauseMilliseconds: Double, source: ForkOrigin, snapshot: String?, forks: [Child]
    ) {
        self.capturedAt = capturedAt
        self.pauseMilliseconds = pauseMilliseconds
        self.source = source
        self.snapshot = snapshot
        self.forks = forks
    }

    enum CodingKeys: String, CodingKey {
        case source, snapshot, forks
        case capturedAt = "captured_at"
        case pauseMilliseconds = "pause_ms"
    }
}
