import FoundationEssentials

/// A failure as E2B's API tells it.
package struct E2BError: Codable, Sendable, Equatable {
    package var code: Int
    package var message: String
    package var errorCode: String?

    package init(code: Int, message: String, errorCode: String? = nil) {
        self.code = code
        self.message = message
        self.errorCode = errorCode
    }

    enum CodingKeys: String, CodingKey {
        case code, message
        case errorCode = "error_code"
    }
}

/// A sandbox that was made or connected to.
package struct SandboxMade: Codable, Sendable, Equatable {
    package var templateID: String
    package var sandboxID: String
    package var clientID: String
    package var envdVersion: String
    package var envdAccessToken: String
    package var alias: String?
    package var trafficAccessToken: String?
    package var domain: String?

    package init(
        templateID: String, sandboxID: String, envdAccessToken: String, alias: String?, trafficAccessToken: String?,
        domain: String?
    ) {
        self.templateID = templateID
        self.sandboxID = sandboxID
        clientID = E2BConstants.clientID
        envdVersion = E2BConstants.envdVersion
        self.envdAccessToken = envdAccessToken
        self.alias = alias
        self.trafficAccessToken = trafficAccessToken
        self.domain = domain
    }
}

/// One sandbox, told of in lists and by itself.
package struct SandboxDetail: Encodable, Sendable {
    package struct Lifecycle: Encodable, Sendable {
        package var onTimeout: String
        package var autoResume: Bool

        package init(onTimeout: String, autoResume: Bool) {
            self.onTimeout = onTimeout
            self.autoResume = autoResume
        }
    }

    package var templateID: String
    package var alias: String?
    package var sandboxID: String
    package var clientID = E2BConstants.clientID
    package var startedAt: String
    package var endAt: String
    package var cpuCount: Int
    package var memoryMB: Int
    package var diskSizeMB: Int
    package var metadata: [String: String]
    package var state: String
    package var envdVersion = E2BConstants.envdVersion
    /// Only where one sandbox is asked for.
    package var envdAccessToken: String?
    package var domain: String?
    package var allowInternetAccess: Bool?
    package var network: NetworkConfig?
    package var lifecycle: Lifecycle?
    package var pauseMode: String?

    package init(
        templateID: String, alias: String?, sandboxID: String, startedAt: String, endAt: String, cpuCount: Int,
        memoryMB: Int, diskSizeMB: Int, metadata: [String: String], state: String
    ) {
        self.templateID = templateID
        self.alias = alias
        self.sandboxID = sandboxID
        self.startedAt = startedAt
        self.endAt = endAt
        self.cpuCount = cpuCount
        self.memoryMB = memoryMB
        self.diskSizeMB = diskSizeMB
        self.metadata = metadata
        self.state = state
    }
}

/// What is told clients and is the same everywhere.
package enum E2BConstants {
    /// The version of E2B's daemon in the sandbox whose interface is offered. Clients choose by it what they dare.
    package static let envdVersion = "0.6.7"
    /// The port of that daemon.
    package static let envdPort: UInt16 = 49983
    /// Once the node a sandbox was on; clients want it and use it for nothing.
    package static let clientID = "martlet"
}
