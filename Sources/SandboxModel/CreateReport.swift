/// How a sandbox came to be and where the time went, in milliseconds.
public struct CreateReport: Sendable, Hashable, Codable {
    /// What was ready when the request came.
    public enum Mode: String, Sendable, Codable, CaseIterable {
        /// A restored guest that had already answered was waiting.
        case warm
        /// A VMM process on the image was waiting; the state was loaded now.
        case shell
        /// Nothing was waiting: the VMM was started now and the capture restored.
        case cold
        /// The capture itself did not exist and was baked first.
        case baked
        /// It goes on from a capture of another sandbox, or of itself.
        case restored
        /// It was booted from its own disk.
        case booted
    }

    public var mode: Mode
    public var totalMilliseconds: Double
    /// Phase name (`acquire`, `spawn`, `restore`, `continue`, `thaw`, `record`) to milliseconds.
    public var phases: [String: Double]

    public init(mode: Mode, totalMilliseconds: Double, phases: [String: Double]) {
        self.mode = mode
        self.totalMilliseconds = totalMilliseconds
        self.phases = phases
    }

    enum CodingKeys: String, CodingKey {
        case mode
        case totalMilliseconds = "total_ms"
        case phases
    }
}
