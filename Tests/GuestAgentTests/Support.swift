import Foundation
import Glibc

/// A small generator with a seed, so that a failure can be had again.
struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
        return value ^ (value >> 31)
    }
}

func isRunning(_ pid: Int32) -> Bool { kill(pid, 0) == 0 }

/// What this machine lets the tests do; what it does not is skipped, and the skip is printed.
enum Privilege {
    static let canMount: Bool = {
        let directory = NSTemporaryDirectory() + "martlet-mount-\(UUID().uuidString)"
        guard mkdir(directory, 0o700) == 0 else { return false }
        defer { rmdir(directory) }
        guard mount("tmpfs", directory, "tmpfs", 0, "size=1m") == 0 else { return false }
        return umount2(directory, 2) == 0
    }()

    /// A version 2 control group in which others can be made.
    static let controlGroupRoot: String? = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].first { root in
        let path = root + "/martlet-probe-\(UUID().uuidString)"
        guard access(root + "/cgroup.controllers", F_OK) == 0, mkdir(path, 0o755) == 0 else { return false }
        return rmdir(path) == 0
    }
}
