import FoundationEssentials

// Bodies of E2B's control API, as in spec/openapi.yml of e2b-dev/infra. Fields nobody here knows are passed over: newer
// clients send some that say nothing to this server.

/// `POST /sandboxes` and `POST /v2/sandboxes`.
package struct NewSandbox: Decodable, Sendable {
    package struct AutoResume: Decodable, Sendable { package var enabled: Bool? }
    package struct VolumeMount: Decodable, Sendable {
        package var name: String?
        package var path: String?
    }

    package var templateID: String
    package var timeout: Int?
    package var autoPause: Bool?
    package var autoPauseMemory: Bool?
    package var autoResume: AutoResume?
    package var metadata: [String: String]?
    package var envVars: [String: String]?
    package var network: NetworkConfig?
    package var volumeMounts: [VolumeMount]?
    package var allowInternetAccess: Bool?

    enum CodingKeys: String, CodingKey {
        case templateID, timeout, autoPause, autoPauseMemory, autoResume, metadata, envVars, network, volumeMounts
        // The one name the interface writes in snake case; the other spelling is taken too.
        case allowInternetAccess = "allow_internet_access"
    }
}

/// What a sandbox may reach, and who may reach it.
package struct NetworkConfig: Codable, Sendable, Equatable {
    package struct Rule: Codable, Sendable, Equatable {
        package struct Transform: Codable, Sendable, Equatable { package var headers: [String: String]? }
        package var transform: Transform?
    }
    package struct EgressProxy: Codable, Sendable, Equatable { package var address: String? }

    package var allowOut: [String]?
    package var denyOut: [String]?
    package var dnsServers: [String]?
    package var allowPublicTraffic: Bool?
    package var maskRequestHost: String?
    package var httpsPorts: [Int]?
    package var rules: [String: [Rule]]?
    package var egressProxy: EgressProxy?

    package init(allowOut: [String]? = nil, denyOut: [String]? = nil, allowPublicTraffic: Bool? = nil) {
        self.allowOut = allowOut
        self.denyOut = denyOut
        self.allowPublicTraffic = allowPublicTraffic
    }
}

/// `PUT /sandboxes/{id}/network`.
package struct NetworkUpdate: Decodable, Sendable {
    package var config: NetworkConfig
    package var allowInternetAccess: Bool?

    private enum CodingKeys: String, CodingKey { case allowInternetAccess = "allow_internet_access" }

    package init(from decoder: any Decoder) throws {
        config = try NetworkConfig(from: decoder)
        allowInternetAccess = try decoder.container(keyedBy: CodingKeys.self)
            .decodeIfPresent(Bool.self, forKey: .allowInternetAccess)
    }
}

/// `POST /sandboxes/{id}/timeout`.
package struct TimeoutRequest: Decodable, Sendable {
    package var timeout: Int
}

/// `POST /sandboxes/{id}/refreshes`.
package struct RefreshRequest: Decodable, Sendable {
    package var duration: Int?
}

/// `POST …/connect`, `…/resume` and `…/pause`.
package struct ResumeRequest: Decodable, Sendable {
    package var timeout: Int?
    package var autoPause: Bool?
    /// false: the disk only.
    package var memory: Bool?
}

/// `POST /sandboxes/{id}/fork`.
package struct ForkRequest: Decodable, Sendable {
    package var timeout: Int?
    package var count: Int?
}

/// `POST /sandboxes/{id}/snapshots`.
package struct SnapshotRequest: Decodable, Sendable {
    package var name: String?
    package var memory: Bool?
}
