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
    /// The port of the code interpreter, which listens inside the sandbox.
    package static let codePort: UInt16 = 49999
    /// Once the node a sandbox was on; clients want it and use it for nothing.
    package static let clientID = "martlet"
    /// Names E2B has for templates that are called otherwise here.
    package static let aliases = ["code-interpreter": "code-interpreter-v1", "default": "base"]
    /// Told where a time is wanted and none is known.
    package static let noTime = "1970-01-01T00:00:00.000Z"
}

/// What came of one child of a fork.
package struct ForkOutcome: Encodable, Sendable {
    package var sandbox: SandboxMade?
    package var error: E2BError?

    package init(sandbox: SandboxMade) { self.sandbox = sandbox }
    package init(error: E2BError) { self.error = error }
}

package struct SnapshotInfo: Encodable, Sendable {
    package var snapshotID: String
    package var names: [String]

    package init(snapshotID: String, names: [String]) {
        self.snapshotID = snapshotID
        self.names = names
    }
}

/// One sample of what a sandbox uses.
package struct MetricSample: Encodable, Sendable {
    package var timestamp: String
    package var timestampUnix: Int64
    package var cpuCount: Int
    package var cpuUsedPct: Double
    package var memUsed: UInt64
    package var memTotal: UInt64
    package var memCache: UInt64
    package var diskUsed: UInt64
    package var diskTotal: UInt64

    package init(
        timestamp: String, timestampUnix: Int64, cpuCount: Int, cpuUsedPct: Double, memUsed: UInt64, memTotal: UInt64,
        memCache: UInt64, diskUsed: UInt64, diskTotal: UInt64
    ) {
        self.timestamp = timestamp
        self.timestampUnix = timestampUnix
        self.cpuCount = cpuCount
        self.cpuUsedPct = cpuUsedPct
        self.memUsed = memUsed
        self.memTotal = memTotal
        self.memCache = memCache
        self.diskUsed = diskUsed
        self.diskTotal = diskTotal
    }
}

/// One line of a log.
package struct LogEntry: Encodable, Sendable {
    package var timestamp: String
    package var message: String
    package var level: String
    package var fields: [String: String]

    package init(timestamp: String, message: String, level: String, fields: [String: String]) {
        self.timestamp = timestamp
        self.message = message
        self.level = level
        self.fields = fields
    }
}

/// `GET /v2/sandboxes/{id}/logs`; the first version has the lines twice.
package struct SandboxLogs: Encodable, Sendable {
    package struct Line: Encodable, Sendable {
        package var timestamp: String
        package var line: String

        package init(timestamp: String, line: String) {
            self.timestamp = timestamp
            self.line = line
        }
    }
    package var logs: [LogEntry]

    package init(logs: [LogEntry]) { self.logs = logs }
}

package struct SandboxLogsV1: Encodable, Sendable {
    package var logs: [SandboxLogs.Line]
    package var logEntries: [LogEntry]

    package init(_ entries: [LogEntry]) {
        logs = entries.map { .init(timestamp: $0.timestamp, line: $0.message) }
        logEntries = entries
    }
}

package struct TemplateAlias: Encodable, Sendable {
    package var templateID: String
    package var `public`: Bool

    package init(templateID: String, public: Bool) {
        self.templateID = templateID
        self.public = `public`
    }
}

/// One template of a list.
package struct TemplateInfo: Encodable, Sendable {
    package var templateID: String
    package var buildID: String
    package var cpuCount: Int
    package var memoryMB: Int
    package var diskSizeMB: Int
    package var `public`: Bool
    package var aliases: [String]
    package var names: [String]
    package var createdAt: String
    package var updatedAt: String
    package var lastSpawnedAt: String?
    package var spawnCount = 0
    package var buildCount = 1
    package var envdVersion = E2BConstants.envdVersion
    package var buildStatus: String

    package init(
        templateID: String, buildID: String, cpuCount: Int, memoryMB: Int, diskSizeMB: Int, isPublic: Bool,
        names: [String], createdAt: String?, status: String
    ) {
        self.templateID = templateID
        self.buildID = buildID
        self.cpuCount = cpuCount
        self.memoryMB = memoryMB
        self.diskSizeMB = diskSizeMB
        self.public = isPublic
        aliases = names
        self.names = names
        self.createdAt = createdAt ?? E2BConstants.noTime
        updatedAt = self.createdAt
        buildStatus = status
    }
}
