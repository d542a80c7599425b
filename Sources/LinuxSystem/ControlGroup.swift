import CLinux
import Glibc

/// A control group: a set of processes that are limited, frozen and ended together. One directory in each tree there is.
///
/// All of it blocks the thread, for a fraction of a millisecond; only `kill` waits.
public struct ControlGroup: Sendable {
    /// Its name in every tree, below its parent's.
    public let name: String
    private let parent: ControlGroupParent

    /// The group of that name, whether it exists or not.
    public init(_ name: String, in parent: ControlGroupParent) {
        self.name = name
        self.parent = parent
    }

    func path(in tree: ControlGroupHierarchies.Tree) -> String { "\(tree.path)/\(parent.name)/\(name)" }

    var trees: [ControlGroupHierarchies.Tree] { parent.hierarchies.trees }

    func file(_ controller: ControlGroupHierarchies.Controller, _ one: String, _ two: String) -> String? {
        guard let tree = parent.hierarchies.controllers[controller] else { return nil }
        return "\(path(in: tree))/\(tree.isVersionTwo ? two : one)"
    }

    /// Whether it exists in any tree.
    public var exists: Bool { trees.contains { access(path(in: $0), F_OK) == 0 } }

    /// Makes the group and puts limits in force before anything is in it. It is gone again if that fails.
    ///
    /// - Throws: `SystemError` naming the file that was refused, `ENODEV` for a limit on a disk that takes none.
    public func create(_ limits: ControlGroupLimits) throws(SystemError) {
        do throws(SystemError) {
            for tree in trees {
                try makeDirectory(in: tree)
            }
            try apply(limits)
        } catch {
            remove()
            throw error
        }
    }

    /// Makes the group as `create` does; where the disk takes no limits, which not every file system's does, it goes without
    /// them.
    public func createWithDiskLimitsIfPossible(_ limits: ControlGroupLimits) throws(SystemError) {
        do throws(SystemError) {
            try create(limits)
        } catch let error where error.errno == ENODEV {
            var rest = limits
            rest.ioBytesPerSecond = nil
            try create(rest)
        }
    }

    private func makeDirectory(in tree: ControlGroupHierarchies.Tree) throws(SystemError) {
        let directory = path(in: tree)
        for _ in 0..<8 {
            if mkdir(directory, 0o755) == 0 || errno == EEXIST { return }
            guard errno == ENOENT else { break }
            // The last group that was in it has taken the parent with it.
            try parent.make(in: tree)
        }
        throw SystemError("mkdir", directory, errno: errno)
    }

    /// Changes limits.
    public func apply(_ limits: ControlGroupLimits) throws(SystemError) {
        if let bytes = limits.memoryBytes, let file = file(.memory, "memory.limit_in_bytes", "memory.max") {
            try ControlGroup.write("\(bytes)", to: file)
            // Swap would let it have more, and slowly. Where the kernel does not account for it there is no such file.
            if let swap = self.file(.memory, "memory.memsw.limit_in_bytes", "memory.swap.max"), access(swap, F_OK) == 0
            {
                try ControlGroup.write(isVersionTwo(.memory) ? "0" : "\(bytes)", to: swap)
            }
        }
        if let cpus = limits.cpus {
            let quota = max(1000, Int(cpus * 100_000))
            if isVersionTwo(.cpu), let file = file(.cpu, "", "cpu.max") {
                try ControlGroup.write("\(quota) 100000", to: file)
            } else if let file = file(.cpu, "cpu.cfs_quota_us", "") {
                try ControlGroup.write("\(quota)", to: file)
            }
        }
        if let tasks = limits.tasks, let file = file(.pids, "pids.max", "pids.max") {
            try ControlGroup.write("\(tasks)", to: file)
        }
        if let rate = limits.ioBytesPerSecond { try limitDisk(limits.disk, rate) }
    }

    private func limitDisk(_ path: String, _ bytesPerSecond: UInt64) throws(SystemError) {
        guard parent.hierarchies.controllers[.io] != nil else { return }
        var (major, minor): (UInt32, UInt32) = (0, 0)
        try SystemError.check(clinux_disk_of(path, &major, &minor), "find the disk of", path)
        if isVersionTwo(.io), let file = file(.io, "", "io.max") {
            try ControlGroup.write("\(major):\(minor) rbps=\(bytesPerSecond) wbps=\(bytesPerSecond)", to: file)
        } else {
            for name in ["blkio.throttle.read_bps_device", "blkio.throttle.write_bps_device"] {
                guard let file = file(.io, name, "") else { continue }
                try ControlGroup.write("\(major):\(minor) \(bytesPerSecond)", to: file)
            }
        }
    }

    func isVersionTwo(_ controller: ControlGroupHierarchies.Controller) -> Bool {
        parent.hierarchies.controllers[controller]?.isVersionTwo ?? false
    }

    /// The group's directory in the version 2 tree, for a child to be born in; nil where there is no such tree.
    public func openUnified() throws(SystemError) -> Descriptor? {
        guard let unified = parent.hierarchies.unified else { return nil }
        return try Descriptor.openDirectory("\(unified)/\(parent.name)/\(name)")
    }

    /// Puts a process in, with all it starts from now on.
    ///
    /// Takes some 10 ms: the kernel waits for every other task first.
    /// - Parameter isBornInUnified: whether it is where it belongs in the version 2 tree already.
    public func add(_ pid: pid_t, isBornInUnified: Bool = false) throws(SystemError) {
        for tree in trees where !(isBornInUnified && tree.isVersionTwo) {
            try ControlGroup.write("\(pid)", to: "\(path(in: tree))/cgroup.procs")
        }
    }

    /// Pids of what is in it.
    public func processes() -> [pid_t] {
        var pids: Set<pid_t> = []
        for tree in trees {
            let bytes = (try? AtomicFile.read("\(path(in: tree))/cgroup.procs", limit: 1 << 20)) ?? []
            for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") {
                if let pid = pid_t(line), pid > 0 { pids.insert(pid) }
            }
        }
        return pids.sorted()
    }

    /// Stops everything in it; returns when all of it stands still.
    ///
    /// - Throws: `SystemError`, with `ETIMEDOUT` when something does not stand still in time.
    public func freeze(milliseconds: UInt32 = 1000) throws(SystemError) {
        if let unified = parent.hierarchies.unified {
            let directory = "\(unified)/\(parent.name)/\(name)"
            let freeze = try Descriptor.open("\(directory)/cgroup.freeze", O_WRONLY)
            let events = try Descriptor.open("\(directory)/cgroup.events", O_RDONLY)
            let frozen = try SystemError.check(
                clinux_cgroup_freeze(freeze.number, events.number, milliseconds), "freeze", directory)
            guard frozen == 1 else { throw SystemError("freeze", directory, errno: ETIMEDOUT) }
            return
        }
        guard let file = file(.freezer, "freezer.state", "") else {
            throw SystemError("freeze", "control group \(name)", errno: ENOTSUP)
        }
        try ControlGroup.write("FROZEN", to: file)
        let end = Clocks.monotonicNanoseconds + Int64(milliseconds) * 1_000_000
        // Version 1 has no event for it.
        while (try AtomicFile.read(file)).starts(with: Array("FROZEN".utf8)) == false {
            guard Clocks.monotonicNanoseconds < end else { throw SystemError("freeze", file, errno: ETIMEDOUT) }
            usleep(500)
        }
    }

    /// Lets everything in it go on.
    public func thaw() throws(SystemError) {
        if let unified = parent.hierarchies.unified {
            try ControlGroup.write("0", to: "\(unified)/\(parent.name)/\(name)/cgroup.freeze")
        } else if let file = file(.freezer, "freezer.state", "") {
            try ControlGroup.write("THAWED", to: file)
        }
    }

    /// What its processes have used.
    public func usage() -> ControlGroupUsage {
        func number(_ file: String?) -> UInt64? {
            guard let file, let bytes = try? AtomicFile.read(file) else { return nil }
            return UInt64(String(decoding: bytes, as: UTF8.self).filter { $0.isASCII && $0.isNumber })
        }
        var usage = ControlGroupUsage()
        usage.memoryBytes = number(file(.memory, "memory.usage_in_bytes", "memory.current"))
        usage.tasks = number(file(.pids, "pids.current", "pids.current"))
        if let file = file(.memory, "memory.oom_control", "memory.events"), let bytes = try? AtomicFile.read(file) {
            for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") {
                let words = line.split(separator: " ")
                if words.count == 2, words[0] == "oom_kill" { usage.outOfMemoryKills = UInt64(words[1]) }
            }
        }
        return usage
    }

    /// Ends everything in it, again and again until nothing is left; false if something is left after the time.
    @discardableResult
    public func kill(milliseconds: Int = 5000) -> Bool {
        if let unified = parent.hierarchies.unified {
            // Linux 5.14 and later; what is in the group is found by its list otherwise.
            try? ControlGroup.write("1", to: "\(unified)/\(parent.name)/\(name)/cgroup.kill")
        }
        try? thaw()
        let end = Clocks.monotonicNanoseconds + Int64(milliseconds) * 1_000_000
        while true {
            let left = processes()
            if left.isEmpty { return true }
            for pid in left { _ = clinux_kill(pid, SIGKILL) }
            guard Clocks.monotonicNanoseconds < end else { return false }
            // The groups of processes that end tell nobody in version 1.
            usleep(1000)
        }
    }

    /// Removes the group, which must be empty, and its parent with the last of its groups; a process that is just ending
    /// is waited for. What is not there is no error.
    public func remove() {
        for tree in trees {
            let directory = path(in: tree)
            for _ in 0..<200 {
                // A group whose last process is a zombie no more, but not quite gone, is busy for a moment.
                if rmdir(directory) == 0 || errno != EBUSY { break }
                usleep(1000)
            }
            rmdir("\(tree.path)/\(parent.name)")
        }
    }

    static func write(_ text: String, to path: String) throws(SystemError) {
        let file = try Descriptor.open(path, O_WRONLY)
        do {
            try file.writeAll(Array(text.utf8))
        } catch {
            throw SystemError("write '\(text)' to", path, errno: error.errno)
        }
    }
}

/// What the processes of a control group use; nil where the host does not count it.
public struct ControlGroupUsage: Sendable, Equatable {
    /// Memory now, page cache included.
    public var memoryBytes: UInt64?
    /// Processes and threads now.
    public var tasks: UInt64?
    /// Processes that were ended because the group was out of memory.
    public var outOfMemoryKills: UInt64?

    public init() {}
}
