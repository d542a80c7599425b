/// How a capture of a sandbox went.
public struct CaptureReport: Sendable, Hashable, Codable {
    /// The instant memory and disk are of.
    public var capturedAt: Timestamp
    /// For how long the sandbox's programs stood still for it, in milliseconds; 0 when they did already.
    public var pauseMilliseconds: Double
    /// Where the time went, in milliseconds: `hold`, `stop`, `state`, `continue`, `release`, `seal`.
    public var phases: [String: Double]
    /// What is stored of memory and disk: what was written since the template's capture.
    public var memoryBytes: UInt64
    public var diskBytes: UInt64

    public init(
        capturedAt: Timestamp, pauseMilliseconds: Double, phases: [String: Double], memoryBytes: UInt64,
        diskBytes: UInt64
    ) {
        self.capturedAt = capturedAt
        self.pauseMilliseconds = pauseMilliseconds
        self.phases = phases
        self.memoryBytes = memoryBytes
        self.diskBytes = diskBytes
    }

    enum CodingKeys: String, CodingKey {
        case phases
        case capturedAt = "captured_at"
        case pauseMilliseconds = "pause_ms"
        case memoryBytes = "memory_bytes"
        case diskBytes = "disk_bytes"
    }
}
