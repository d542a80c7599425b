import SandboxModel

/// Body of `POST /v1/sandboxes/{id}/ports`.
public struct PublishPortRequest: APIRequest {
    /// 1 to 65535.
    public var port: Int
    /// `private` if absent.
    public var visibility: PortVisibility?
    /// How long the token of a private port is good (an hour if absent), or a public port stays published (as long as the
    /// sandbox if absent).
    public var ttlSeconds: Int?
    /// Whether a request resumes the sandbox if it is paused; if absent, as its time-out does: only those that pause
    /// themselves are resumed.
    public var wake: Bool?

    public init(port: Int, visibility: PortVisibility? = nil, ttlSeconds: Int? = nil, wake: Bool? = nil) {
        self.port = port
        self.visibility = visibility
        self.ttlSeconds = ttlSeconds
        self.wake = wake
    }

    enum CodingKeys: String, CodingKey, CaseIterable {
        case port, visibility, wake
        case ttlSeconds = "ttl_seconds"
    }
    public static var fields: [String] { CodingKeys.allCases.map(\.rawValue) }
}

/// A published port of a sandbox.
public struct PortResource: Codable, Sendable, Equatable {
    public var port: Int
    public var visibility: PortVisibility
    /// Where it is reached by a host name of its own.
    public var url: String
    /// Where it is reached below the sandbox's own path.
    public var pathURL: String
    /// Lets in whoever has it; told once, when the port is published.
    public var token: String?
    /// When the token of a private port, or the publication of a public one, is over.
    public var expiresAt: Timestamp?
    /// Whether a request resumes the sandbox if it is paused.
    public var wake: Bool

    public init(
        port: Int, visibility: PortVisibility, url: String, pathURL: String, token: String?, expiresAt: Timestamp?,
        wake: Bool
    ) {
        self.port = port
        self.visibility = visibility
        self.url = url
        self.pathURL = pathURL
        self.token = token
        self.expiresAt = expiresAt
        self.wake = wake
    }

    enum CodingKeys: String, CodingKey {
        case port, visibility, url, token, wake
        case pathURL = "path_url"
        case expiresAt = "expires_at"
    }
}
