import CLinux
import Glibc
import GuestProtocol
import LinuxSystem

/// Reads the guest's counters: those of a machine of its own from /proc, else those of its own processes and group.
package struct MetricsReader {
    /// What a sandbox may use of a machine it shares with others.
    package struct Allotment: Sendable, Equatable {
        package var memoryBytes: UInt64
        package var cpus: Int
        /// When it began, by the monotonic clock.
        package var beganNanoseconds = Clocks.monotonicNanoseconds

        package init(memoryBytes: UInt64, cpus: Int) {
            self.memoryBytes = memoryBytes
            self.cpus = cpus
        }
    }

    private static let millisecondsPerTick: UInt64 = 10
    private static let sectorBytes: UInt64 = 512

    private let allotment: Allotment?

    init(allotment: Allotment? = nil) { self.allotment = allotment }

    /// Milliseconds since the guest's kernel started, or since the sandbox began.
    var uptimeMilliseconds: UInt64 {
        if let allotment {
            return UInt64(max(0, Clocks.monotonicNanoseconds - allotment.beganNanoseconds) / 1_000_000)
        }
        return MetricsReader.kernelUptimeMilliseconds
    }

    private static var kernelUptimeMilliseconds: UInt64 {
        guard let field = words("/proc/uptime").first, let dot = field.firstIndex(of: ".") else { return 0 }
        let hundredths = UInt64(field[field.index(after: dot)...]) ?? 0
        return (UInt64(field[..<dot]) ?? 0) * 1000 + hundredths * 10
    }

    func read() -> GuestMetrics {
        var metrics = GuestMetrics()
        metrics.uptimeMilliseconds = uptimeMilliseconds
        MetricsReader.readSpace(&metrics)
        MetricsReader.readNetwork(&metrics)
        if let allotment {
            MetricsReader.readShare(allotment, &metrics)
        } else {
            MetricsReader.readProcessor(&metrics)
            MetricsReader.readMemory(&metrics)
            MetricsReader.readDisk(&metrics)
            MetricsReader.readLoad(&metrics)
        }
        if let proc = DirectoryReader(path: "/proc") {
            while let name = proc.next() { if UInt32(name) != nil { metrics.processes += 1 } }
        }
        return metrics
    }

    /// What the sandbox's own processes use: by its control group where that counts it, else each by itself.
    private static func readShare(_ allotment: Allotment, _ metrics: inout GuestMetrics) {
        metrics.memoryTotal = allotment.memoryBytes
        let group = words("/sys/fs/cgroup/memory.current").first.flatMap { UInt64($0) }
        let used = group ?? residentBytes()
        metrics.memoryAvailable = allotment.memoryBytes - min(allotment.memoryBytes, used)
        var times: [Substring: UInt64] = [:]
        for line in lines("/sys/fs/cgroup/cpu.stat") {
            let fields = line.split(separator: " ")
            if fields.count == 2, let value = UInt64(fields[1]) { times[fields[0]] = value / 1000 }
        }
        for line in lines("/sys/fs/cgroup/cpuacct/cpuacct.stat") {
            let fields = line.split(separator: " ")
            if fields.count == 2, let ticks = UInt64(fields[1]) {
                times[fields[0] == "user" ? "user_usec" : "system_usec"] = ticks * millisecondsPerTick
            }
        }
        metrics.cpuUserMilliseconds = times["user_usec"] ?? 0
        metrics.cpuSystemMilliseconds = times["system_usec"] ?? 0
        let all = metrics.uptimeMilliseconds * UInt64(allotment.cpus)
        metrics.cpuIdleMilliseconds = all - min(all, metrics.cpuUserMilliseconds + metrics.cpuSystemMilliseconds)
    }

    /// What processes have in memory, shared pages counted once for each.
    private static func residentBytes() -> UInt64 {
        guard let proc = DirectoryReader(path: "/proc") else { return 0 }
        var pages: UInt64 = 0
        while let name = proc.next() {
            guard UInt32(name) != nil else { continue }
            let fields = words("/proc/\(name)/statm")
            if fields.count > 2 { pages += (UInt64(fields[1]) ?? 0) }
        }
        return pages * UInt64(sysconf(Int32(_SC_PAGESIZE)))
    }

    private static func readLoad(_ metrics: inout GuestMetrics) {
        guard let text = words("/proc/loadavg").first else { return }
        let parts = text.split(separator: ".")
        let thousandths = parts.count > 1 ? (UInt64(parts[1]) ?? 0) * 10 : 0
        metrics.loadAverageMilli = (parts.first.flatMap { UInt64($0) } ?? 0) * 1000 + thousandths
    }

    private static func readProcessor(_ metrics: inout GuestMetrics) {
        let fields = words("/proc/stat").prefix(9).map { UInt64($0) ?? 0 }
        guard fields.count > 6 else { return }
        // user nice system idle iowait irq softirq, behind the word "cpu"
        metrics.cpuUserMilliseconds = (fields[1] + fields[2]) * millisecondsPerTick
        metrics.cpuSystemMilliseconds = (fields[3] + fields.dropFirst(6).reduce(0, +)) * millisecondsPerTick
        metrics.cpuIdleMilliseconds = (fields[4] + fields[5]) * millisecondsPerTick
    }

    private static func readMemory(_ metrics: inout GuestMetrics) {
        for line in lines("/proc/meminfo") {
            let fields = line.split(separator: " ")
            guard fields.count > 1, let kilobytes = UInt64(fields[1]) else { continue }
            if fields[0] == "MemTotal:" { metrics.memoryTotal = kilobytes * 1024 }
            if fields[0] == "MemAvailable:" { metrics.memoryAvailable = kilobytes * 1024 }
        }
    }

    private static func readSpace(_ metrics: inout GuestMetrics) {
        var space = clinux_space()
        guard clinux_filesystem_space("/", &space) == 0 else { return }
        metrics.diskTotal = space.total
        metrics.diskUsed = space.total - min(space.total, space.free)
    }

    private static func readDisk(_ metrics: inout GuestMetrics) {
        for line in lines("/proc/diskstats") {
            let fields = line.split(separator: " ")
            guard fields.count > 9, isWholeDisk(fields[2]) else { continue }
            metrics.diskReadBytes += (UInt64(fields[5]) ?? 0) * sectorBytes
            metrics.diskWrittenBytes += (UInt64(fields[9]) ?? 0) * sectorBytes
        }
    }

    /// Whether a block device is a disk and not a part of one, a loop or a RAM disk.
    private static func isWholeDisk(_ name: Substring) -> Bool {
        ["vd", "sd", "xvd"].contains { name.hasPrefix($0) } && name.last?.isNumber == false
    }

    private static func readNetwork(_ metrics: inout GuestMetrics) {
        for line in lines("/proc/net/dev") {
            let parts = line.split(separator: ":", maxSplits: 1)
            guard parts.count == 2 else { continue }
            let fields = parts[1].split(separator: " ")
            let name = parts[0].split(separator: " ").first ?? ""
            guard name != "lo", fields.count > 8 else { continue }
            metrics.networkReceivedBytes += UInt64(fields[0]) ?? 0
            metrics.networkSentBytes += UInt64(fields[8]) ?? 0
        }
    }

    private static func text(_ path: String) -> String {
        guard let bytes = try? Descriptor.open(path, O_RDONLY).readAll(limit: 1 << 20) else { return "" }
        return String(decoding: bytes, as: UTF8.self)
    }

    private static func lines(_ path: String) -> [Substring] { text(path).split(separator: "\n") }
    private static func words(_ path: String) -> [Substring] {
        text(path).split { $0 == " " || $0 == "\n" }
    }
}
