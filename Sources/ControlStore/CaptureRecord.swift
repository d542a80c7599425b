import SandboxModel

/// What is kept of how a capture went.
package struct CaptureRecord: Sendable, Equatable, Codable {
    package var capturedAt: Timestamp
    package var pauseMilliseconds: Double
    package var phases: [String: Double]
    package var memoryBytes: UInt64
    package var diskBytes: UInt64

    package init(
        capturedAt: Timestamp, pauseMilliseconds: Double, phases: [String: Double], memoryBytes: UInt64,
        diskBytes: UInt64
    ) {
        self.capturedAt = capturedAt
        self.pauseMilliseconds = pauseMilliseconds
        self.phases = phases
        self.memoryBytes = memoryBytes
        self.diskBytes = diskBytes
    }
}
