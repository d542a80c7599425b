import SandboxModel

/// Body of `POST /v1/sandboxes`.
public struct CreateSandboxRequest: APIRequest {
    public var template: String?
    public var name: String?
    public var timeoutSeconds: Int?
    public var cpus: Int?
    public var memoryMiB: Int?
    public var diskMiB: Int?
    public var env: [String: String]?
    public var metadata: [String: String]?
    /// `auto`, or an engine's name.
    public var isolation: String?
    /// The id or name of a snapshot to go on from; template and sizes are the snapshot's then.
    public var fromSnapshot: String?
    /// With `fromSnapshot`: whether processes started from now on have the snapshot's environment too.
    public var inheritEnv: Bool?
    /// `kill` if absent.
    public var onTimeout: TimeoutAction?
    /// Whether a checkpoint is kept after every exec; false if absent.
    public var record: Bool?
    /// What it may reach; the snapshot's, or else the host's default, if absent.
    public var network: NetworkPolicy?
    public var secrets: [SecretRequest]?

    public init(
        template: String? = nil, name: String? = nil, timeoutSeconds: Int? = nil, cpus: Int? = nil,
        memoryMiB: Int? = nil, diskMiB: Int? = nil, env: [String: String]? = nil, metadata: [String: String]? = nil,
        isolation: String? = nil, fromSnapshot: String? = nil, inheritEnv: Bool? = nil,
        onTimeout: TimeoutAction? = nil, record: Bool? = nil, network: NetworkPolicy? = nil,
        secrets: [SecretRequest]? = nil
    ) {
        self.template = template
        self.name = name
        self.timeoutSeconds = timeoutSeconds
        self.cpus = cpus
        self.memoryMiB = memoryMiB
        self.diskMiB = diskMiB
        self.env = env
        self.metadata = metadata
        self.isolation = isolation
        self.fromSnapshot = fromSnapshot
        self.inheritEnv = inheritEnv
        self.onTimeout = onTimeout
        self.record = record
        self.network = network
        self.secrets = secrets
    }

    enum CodingKeys: String, CodingKey, CaseIterable {
        case template, name, cpus, env, metadata, isolation, record, network, secrets
        case timeoutSeconds = "timeout_seconds"
        case memoryMiB = "memory_mb"
        case diskMiB = "disk_mb"
        case fromSnapshot = "from_snapshot"
        case inheritEnv = "inherit_env"
        case onTimeout = "on_timeout"
    }
    public static var fields: [String] { CodingKeys.allCases.map(\.rawValue) }
    public static var innerFields: [String: [String]] { SecretRequest.innerFields }
}

/// Body of `PATCH /v1/sandboxes/{id}`.
public struct UpdateSandboxRequest: APIRequest {
    /// Counted from now.
    public var timeoutSeconds: Int?
    public var metadata: [String: String]?
    public var onTimeout: TimeoutAction?

    public init(
        timeoutSeconds: Int? = nil, metadata: [String: String]? = nil, onTimeout: TimeoutAction? = nil
    ) {
        self.timeoutSeconds = timeoutSeconds
        self.metadata = metadata
        self.onTimeout = onTimeout
    }

    enum CodingKeys: String, CodingKey, CaseIterable {
        case metadata
        case timeoutSeconds = "timeout_seconds"
        case onTimeout = "on_timeout"
    }
    public static var fields: [String] { CodingKeys.allCases.map(\.rawValue) }
}

/// A sandbox as clients see it.
public struct SandboxResource: Codable, Sendable {
    public var id: String
    public var name: String?
    public var template: String
    public var state: SandboxState
    /// Why it is in a state nobody asked for, such as `failed`.
    public var stateReason: String?
    public var isolation: Isolation
    public var cpus: Int
    public var memoryMiB: Int
    public var diskMiB: Int
    public var createdAt: Timestamp
    /// nil while it is paused: a paused sandbox is kept until it is deleted.
    public var expiresAt: Timestamp?
    public var onTimeout: TimeoutAction
    public var metadata: [String: String]
    /// The sandbox it is a fork of.
    public var parent: String?
    /// The snapshot it was made from.
    public var fromSnapshot: String?
    /// Whether a checkpoint is kept after every exec.
    public var record: Bool
    public var pausedAt: Timestamp?
    /// Of a paused sandbox: what it was captured as.
    public var capture: CaptureReport?
    public var create: CreateReport?
    /// What it may reach. Where several sandboxes are told of, this and `secrets` are left out.
    public var network: NetworkPolicy?
    public var secrets: [SecretSummary]?

    public init(
        id: String, name: String?, template: String, state: SandboxState, stateReason: String? = nil,
        isolation: Isolation, cpus: Int, memoryMiB: Int, diskMiB: Int, createdAt: Timestamp, expiresAt: Timestamp?,
        onTimeout: TimeoutAction = .kill, metadata: [String: String], parent: String? = nil,
        fromSnapshot: String? = nil, record: Bool = false, pausedAt: Timestamp? = nil,
        capture: CaptureReport? = nil, create: CreateReport?, network: NetworkPolicy? = nil,
        secrets: [SecretSummary]? = nil
    ) {
        self.id = id
        self.name = name
        self.template = template
        self.state = state
        self.stateReason = stateReason
        self.isolation = isolation
        self.cpus = cpus
        self.memoryMiB = memoryMiB
        self.diskMiB = diskMiB
        self.createdAt = createdAt
        self.expiresAt = expiresAt
        self.onTimeout = onTimeout
        self.metadata = metadata
        self.parent = parent
        self.fromSnapshot = fromSnapshot
        self.record = record
        self.pausedAt = pausedAt
        self.capture = capture
        self.create = create
        self.network = network
        self.secrets = secrets
    }

    enum CodingKeys: String, CodingKey {
        case id, name, template, state, isolation, cpus, metadata, parent, record, capture, create, network, secrets
        case stateReason = "state_reason"
        case memoryMiB = "memory_mb"
        case diskMiB = "disk_mb"
        case createdAt = "created_at"
        case expiresAt = "expires_at"
        case onTimeout = "on_timeout"
        case fromSnapshot = "from_snapshot"
        case pausedAt = "paused_at"
    }
}

/// `GET …/{id}/metrics`.
public struct SandboxMetrics: Codable, Sendable {
    public var uptimeMilliseconds: UInt64
    public var cpuUserMilliseconds: UInt64
    public var cpuSystemMilliseconds: UInt64
    public var cpuIdleMilliseconds: UInt64
    public var loadAverage: Double
    public var memoryTotalBytes: UInt64
    public var memoryAvailableBytes: UInt64
    /// Memory on the host that only this sandbox holds.
    public var hostPrivateBytes: UInt64
    /// Its fair share of all host memory it maps.
    public var hostProportionalBytes: UInt64
    public var diskTotalBytes: UInt64
    public var diskUsedBytes: UInt64
    public var diskReadBytes: UInt64
    public var diskWrittenBytes: UInt64
    public var networkReceivedBytes: UInt64
    public var networkSentBytes: UInt64
    public var processes: UInt64
    /// What went through the sandbox's network, as the host counts it; nil where it has none.
    public var network: NetworkCounters?

    public init(
        uptimeMilliseconds: UInt64, cpuUserMilliseconds: UInt64, cpuSystemMilliseconds: UInt64,
        cpuIdleMilliseconds: UInt64, loadAverage: Double, memoryTotalBytes: UInt64, memoryAvailableBytes: UInt64,
        hostPrivateBytes: UInt64, hostProportionalBytes: UInt64, diskTotalBytes: UInt64, diskUsedBytes: UInt64,
        diskReadBytes: UInt64, diskWrittenBytes: UInt64, networkReceivedBytes: UInt64, networkSentBytes: UInt64,
        processes: UInt64, network: NetworkCounters? = nil
    ) {
        self.uptimeMilliseconds = uptimeMilliseconds
        self.cpuUserMilliseconds = cpuUserMilliseconds
        self.cpuSystemMilliseconds = cpuSystemMilliseconds
        self.cpuIdleMilliseconds = cpuIdleMilliseconds
        self.loadAverage = loadAverage
        self.memoryTotalBytes = memoryTotalBytes
        self.memoryAvailableBytes = memoryAvailableBytes
        self.hostPrivateBytes = hostPrivateBytes
        self.hostProportionalBytes = hostProportionalBytes
        self.diskTotalBytes = diskTotalBytes
        self.diskUsedBytes = diskUsedBytes
        self.diskReadBytes = diskReadBytes
        self.diskWrittenBytes = diskWrittenBytes
        self.networkReceivedBytes = networkReceivedBytes
        self.networkSentBytes = networkSentBytes
        self.processes = processes
        self.network = network
    }

    enum CodingKeys: String, CodingKey {
        case uptimeMilliseconds = "uptime_ms"
        case cpuUserMilliseconds = "cpu_user_ms"
        case cpuSystemMilliseconds = "cpu_system_ms"
        case cpuIdleMilliseconds = "cpu_idle_ms"
        case loadAverage = "load_average"
        case memoryTotalBytes = "memory_total_bytes"
        case memoryAvailableBytes = "memory_available_bytes"
        case hostPrivateBytes = "host_private_bytes"
        case hostProportionalBytes = "host_proportional_bytes"
        case diskTotalBytes = "disk_total_bytes"
        case diskUsedBytes = "disk_used_bytes"
        case diskReadBytes = "disk_read_bytes"
        case diskWrittenBytes = "disk_written_bytes"
        case networkReceivedBytes = "network_received_bytes"
        case networkSentBytes = "network_sent_bytes"
        case processes, network
    }
}

/// One entry of `GET …/{id}/events`.
public struct SandboxEvent: Codable, Sendable {
    public var time: Timestamp
    /// For example `state`, `exec`, `paused`, `forked`, `expired`, `network_denied`.
    public var kind: String
    public var message: String
    public var details: [String: String]

    public init(time: Timestamp, kind: String, message: String, details: [String: String] = [:]) {
        self.time = time
        self.kind = kind
        self.message = message
        self.details = details
    }
}
