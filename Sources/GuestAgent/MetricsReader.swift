import CLinux
import Glibc
import GuestProtocol
import LinuxSystem

/// Reads the guest's counters from /proc.
struct MetricsReader {
    private static let millisecondsPerTick: UInt64 = 10
    private static let sectorBytes: UInt64 = 512

    /// Milliseconds since the guest's kernel started.
    static var uptimeMilliseconds: UInt64 {
        guard let field = words("/proc/uptime").first, let dot = field.firstIndex(of: ".") else { return 0 }
        let hundredths = UInt64(field[field.index(after: dot)...]) ?? 0
        return (UInt64(field[..<dot]) ?? 0) * 1000 + hundredths * 10
    }

    static func read() -> GuestMetrics {
        var metrics = GuestMetrics()
        metrics.uptimeMilliseconds = uptimeMilliseconds
        readProcessor(&metrics)
        readMemory(&metrics)
        readDisk(&metrics)
        readNetwork(&metrics)
        let load = words("/proc/loadavg")
        if let text = load.first {
            let parts = text.split(separator: ".")
            let thousandths = parts.count > 1 ? (UInt64(parts[1]) ?? 0) * 10 : 0
            metrics.loadAverageMilli = (parts.first.flatMap { UInt64($0) } ?? 0) * 1000 + thousandths
        }
        if let proc = DirectoryReader(path: "/proc") {
            while let name = proc.next() { if UInt32(name) != nil { metrics.processes += 1 } }
        }
        return metrics
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

    private static func readDisk(_ metrics: inout GuestMetrics) {
        var space = clinux_space()
        if clinux_filesystem_space("/", &space) == 0 {
            metrics.diskTotal = space.total
            metrics.diskUsed = space.total - min(space.total, space.free)
        }
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
