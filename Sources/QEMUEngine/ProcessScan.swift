import FoundationEssentials
import LinuxSystem
import NIOPosix

/// Finds processes by what they were started with.
enum ProcessScan {
    /// Handles on every process one of whose arguments contains `text`.
    static func processes(withArgumentContaining text: String) async -> [ProcessHandle] {
        let wanted = Array(text.utf8)
        let found = try? await NIOThreadPool.singleton.runIfActive { () -> [ProcessHandle] in
            let names = try FileManager.default.contentsOfDirectory(atPath: "/proc")
            return names.compactMap { Int32($0) }.compactMap { pid in
                guard let bytes = try? AtomicFile.read("/proc/\(pid)/cmdline", limit: 65_536),
                    contains(bytes, wanted)
                else { return nil }
                return try? ProcessHandle.open(pid: pid)
            }
        }
        return found ?? []
    }

    private static func contains(_ bytes: [UInt8], _ wanted: [UInt8]) -> Bool {
        guard let first = wanted.first, bytes.count >= wanted.count else { return false }
        for index in 0...(bytes.count - wanted.count) where bytes[index] == first {
            if bytes[index..<index + wanted.count].elementsEqual(wanted) { return true }
        }
        return false
    }
}
