/// Body of `POST /files/compose` of E2B's daemon.
package struct ComposeRequest: Decodable, Sendable {
    package var sourcePaths: [String]
    package var destination: String
    package var username: String?

    enum CodingKeys: String, CodingKey {
        case sourcePaths = "source_paths"
        case destination, username
    }
}

/// What `GET /metrics` of E2B's daemon tells.
package struct EnvdMetrics: Encodable, Sendable {
    /// Seconds since 1970.
    package var ts: Int64
    package var cpuCount: Int
    package var cpuUsedPct: Double
    package var memTotal: UInt64
    package var memUsed: UInt64
    package var diskUsed: UInt64
    package var diskTotal: UInt64

    package init(
        ts: Int64, cpuCount: Int, cpuUsedPct: Double, memTotal: UInt64, memUsed: UInt64, diskUsed: UInt64,
        diskTotal: UInt64
    ) {
        self.ts = ts
        self.cpuCount = cpuCount
        self.cpuUsedPct = cpuUsedPct
        self.memTotal = memTotal
        self.memUsed = memUsed
        self.diskUsed = diskUsed
        self.diskTotal = diskTotal
    }

    enum CodingKeys: String, CodingKey {
        case ts
        case cpuCount = "cpu_count"
        case cpuUsedPct = "cpu_used_pct"
        case memTotal = "mem_total"
        case memUsed = "mem_used"
        case diskUsed = "disk_used"
        case diskTotal = "disk_total"
    }
}
