/// What the processes of a control group may use together; nil is no limit.
public struct ControlGroupLimits: Sendable, Equatable {
    /// Bytes of memory, page cache of their own files included; swap is none.
    public var memoryBytes: UInt64?
    /// Processors they keep busy, on the average of a tenth of a second.
    public var cpus: Double?
    /// Processes and threads at once.
    public var tasks: Int?
    /// Bytes a second they read from, and write to, the disk that `disk` is on, each.
    public var ioBytesPerSecond: UInt64?
    /// A path on the disk that `ioBytesPerSecond` is about.
    public var disk: String

    public init(
        memoryBytes: UInt64? = nil, cpus: Double? = nil, tasks: Int? = nil, ioBytesPerSecond: UInt64? = nil,
        disk: String = "/"
    ) {
        self.memoryBytes = memoryBytes
        self.cpus = cpus
        self.tasks = tasks
        self.ioBytesPerSecond = ioBytesPerSecond
        self.disk = disk
    }
}
