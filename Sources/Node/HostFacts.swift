import CLinux
import Glibc
import LinuxSystem

/// What the host has, read from the kernel.
enum HostFacts {
    /// Total and available memory in bytes.
    static func memory() -> (total: UInt64, available: UInt64) {
        let bytes = (try? AtomicFile.read("/proc/meminfo")) ?? []
        var total: UInt64 = 0
        var available: UInt64 = 0
        for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") {
            let words = line.split(separator: " ")
            guard words.count >= 2, let kibibytes = UInt64(words[1]) else { continue }
            if words[0] == "MemTotal:" { total = kibibytes * 1024 }
            if words[0] == "MemAvailable:" { available = kibibytes * 1024 }
        }
        return (total, available)
    }

    /// Bytes free for us on the file system that holds `path`.
    static func diskAvailable(at path: String) -> UInt64 {
        var space = clinux_space()
        return clinux_filesystem_space(path, &space) == 0 ? space.available : 0
    }

    static var processors: Int { max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))) }
}
