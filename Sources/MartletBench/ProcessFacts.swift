import FoundationEssentials
import Glibc
import LinuxSystem

/// What the kernel tells about a process and its children. Everything here reads /proc and blocks for that long.
struct ProcessFacts: Sendable {
    let pid: pid_t

    /// Open descriptors.
    var descriptors: Int { ProcessFacts.names(in: "/proc/\(pid)/fd").count }

    /// A number of /proc/PID/status, such as `VmRSS`, as the kernel writes it (memory in KiB).
    func status(_ name: String) -> UInt64 {
        for line in ProcessFacts.lines("/proc/\(pid)/status") where line.hasPrefix(name + ":") {
            let words = line.split(whereSeparator: { $0 == " " || $0 == "\t" })
            return words.dropFirst().first.flatMap { UInt64($0) } ?? 0
        }
        return 0
    }

    /// Resident memory in MiB.
    var residentMiB: Double { Double(status("VmRSS")) / 1024 }

    /// The most resident memory there ever was, or since `resetPeak`, in MiB.
    var peakMiB: Double { Double(status("VmHWM")) / 1024 }

    /// Lets `peakMiB` start anew.
    func resetPeak() throws(SystemError) {
        try Descriptor.open("/proc/\(pid)/clear_refs", O_WRONLY).writeAll([UInt8(ascii: "5")])
    }

    /// Memory in MiB that only this process holds, and its fair share of what it maps.
    func memoryMiB() throws(SystemError) -> (own: Double, share: Double) {
        let memory = try ProcessHandle.open(pid: pid).memory()
        return (Double(memory.private) / 1_048_576, Double(memory.proportional) / 1_048_576)
    }

    /// Processor time used so far, in milliseconds.
    var processorMilliseconds: Double {
        let fields = ProcessFacts.statFields(pid)
        guard fields.count > 12, let user = Double(fields[11]), let system = Double(fields[12]) else { return 0 }
        return (user + system) * 1000 / Double(sysconf(Int32(_SC_CLK_TCK)))
    }

    /// The processes it started that are still there.
    var children: [pid_t] {
        ProcessFacts.names(in: "/proc").compactMap { pid_t($0) }.filter { candidate in
            let fields = ProcessFacts.statFields(candidate)
            return fields.count > 1 && fields[1] == "\(pid)"
        }
    }

    /// Files below a directory and the bytes in them.
    static func files(below path: String) -> (count: Int, bytes: UInt64) {
        var (count, bytes) = (0, UInt64(0))
        for name in names(in: path) {
            var facts = stat()
            guard lstat("\(path)/\(name)", &facts) == 0 else { continue }
            if facts.st_mode & S_IFMT == S_IFDIR {
                let inside = files(below: "\(path)/\(name)")
                count += inside.count
                bytes += inside.bytes
            } else {
                count += 1
                bytes += UInt64(facts.st_blocks) * 512
            }
        }
        return (count, bytes)
    }

    /// Memory the host could still give out, in MiB.
    static var memoryAvailableMiB: Double {
        for line in lines("/proc/meminfo") where line.hasPrefix("MemAvailable:") {
            return line.split(separator: " ").dropFirst().first.flatMap { Double($0) }.map { $0 / 1024 } ?? 0
        }
        return 0
    }

    /// What follows the command's name in /proc/PID/stat: state, parent and so on.
    private static func statFields(_ pid: pid_t) -> [Substring] {
        guard let bytes = try? AtomicFile.read("/proc/\(pid)/stat", limit: 4096),
            let close = bytes.lastIndex(of: UInt8(ascii: ")"))
        else { return [] }
        return String(decoding: bytes[(close + 1)...], as: UTF8.self).split(whereSeparator: { $0 == " " || $0 == "\n" })
    }

    private static func lines(_ path: String) -> [Substring] {
        String(decoding: (try? AtomicFile.read(path)) ?? [], as: UTF8.self).split(separator: "\n")
    }

    private static func names(in directory: String) -> [String] {
        (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
    }
}
