import SandboxModel

/// Whether a snapshot can be used.
public enum SnapshotState: String, Codable, Sendable, CaseIterable {
    case ready
    /// Deleted, and kept until the last sandbox made from it is gone. Nothing new is made from it.
    case deleting
}

/// A snapshot as clients see it.
public struct SnapshotResource: Codable, Sendable {
    public var id: String
    public var name: String?
    public var kind: SnapshotKind
    /// Of a checkpoint: its place among those of its sandbox, from 0.
    public var number: Int?
    /// The sandbox it was taken of; of an imported one, the sandbox on the other machine.
    public var sandbox: String
    /// The snapshot its sandbox last came from or last took before this one.
    public var parent: String?
    public var template: String
    public var isolation: Isolation
    public var cpus: Int
    public var memoryMiB: Int
    public var diskMiB: Int
    public var capturedAt: Timestamp
    public var pauseMilliseconds: Double
    public var memoryBytes: UInt64
    public var diskBytes: UInt64
    public var metadata: [String: String]
    public var state: SnapshotState
    /// Live sandboxes made from it.
    public var inUseBy: [String]
    /// What its sandbox might reach, and what is made from it may; nil when that is not known, and in lists.
    public var network: NetworkPolicy?

    public init(
        id: String, name: String?, kind: SnapshotKind, number: Int?, sandbox: String, parent: String?,
        template: String, isolation: Isolation, cpus: Int, memoryMiB: Int, diskMiB: Int, capturedAt: Timestamp,
        pauseMilliseconds: Double, memoryBytes: UInt64, diskBytes: UInt64, metadata: [String: String],
        state: SnapshotState, inUseBy: [String], network: NetworkPolicy? = nil
    ) {
        self.id = id
        self.name = name
        self.kind = kind
        self.number = number
        self.sandbox = sandbox
        self.parent = parent
        self.template = template
        self.isolation = isolation
        self.cpus = cpus
        self.memoryMiB = memoryMiB
        self.diskMiB = diskMiB
        self.capturedAt = capturedAt
        self.pauseMilliseconds = pauseMilliseconds
        self.memoryBytes = memoryBytes
        self.diskBytes = diskBytes
        self.metadata = metadata
        self.state = state
        self.inUseBy = inUseBy
        self.network = network
    }

    enum CodingKeys: String, CodingKey {
        case id, name, kind, number, sandbox, parent, template, isolation, cpus, metadata, state, network
        case memoryMiB = "memory_mb"
        case diskMiB = "disk_mb"
        case capturedAt = "captured_at"
        case pauseMilliseconds = "pause_ms"
        case memoryBytes = "memory_bytes"
        case diskBytes = "disk_bytes"
        case inUseBy = "in_use_by"
    }
}

/// Body of `POST …/{id}/snapshots`.
public struct CreateSnapshotRequest: APIRequest {
    public var name: String?
    public var metadata: [String: String]?

    public init(name: String? = nil, metadata: [String: String]? = nil) {
        self.name = name
        self.metadata = metadata
    }

    enum CodingKeys: String, CodingKey, CaseIterable { case name, metadata }
    public static var fields: [String] { CodingKeys.allCases.map(\.rawValue) }
}

/// Where a resume begins.
public enum ResumeFrom: String, Codable, Sendable, CaseIterable {
    /// Everything as it was.
    case memory
    /// Its disk only, booted afresh; also for a running sandbox whose guest does not answer.
    case disk

    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        guard let value = ResumeFrom(rawValue: try container.decode(String.self)) else {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "must be 'memory' or 'disk'")
        }
        self = value
    }
}

/// Body of `POST …/{id}/resume`.
public struct ResumeSandboxRequest: APIRequest {
    /// `memory` if absent.
    public var from: ResumeFrom?
    /// Counted from now; the sandbox's own if absent.
    public var timeoutSeconds: Int?

    public init(from: ResumeFrom? = nil, timeoutSeconds: Int? = nil) {
        self.from = from
        self.timeoutSeconds = timeoutSeconds
    }

    enum CodingKeys: String, CodingKey, CaseIterable {
        case from
        case timeoutSeconds = "timeout_seconds"
    }
    public static var fields: [String] { CodingKeys.allCases.map(\.rawValue) }
}

/// Body of `POST …/{id}/rewind`.
public struct RewindRequest: APIRequest {
    /// The number of a checkpoint.
    public var to: Int

    public init(to: Int) { self.to = to }

    enum CodingKeys: String, CodingKey, CaseIterable { case to }
    public static var fields: [String] { CodingKeys.allCases.map(\.rawValue) }
}
