import CLinux
import Glibc
import LinuxSystem

/// A control group that holds one started process and everything it starts.
final class ProcessCage {
    /// The two ways in which kernels have them.
    fileprivate enum Kind {
        /// Version 2: a process is born in it, and the kernel ends and counts all of it.
        case whole(directory: Descriptor, events: Descriptor)
        /// Version 1, as gVisor's kernel has it: a process puts itself in, and what is in it is on a list.
        case listed(procs: Descriptor, path: String)
    }

    private let kind: Kind
    fileprivate let path: String
    /// Whether it was killed as a whole: kernels from 6.14 on kill whatever is born in such a group later.
    private(set) var wasKilled = false
    /// The process it was last given to; a group that is used again is none of the earlier one's business.
    weak var holder: GuestProcess?

    /// Times a list is gone through: what was forked while one pass ran is caught by the next.
    private static let passes = 5

    fileprivate init(_ kind: Kind, path: String) {
        self.kind = kind
        self.path = path
    }

    /// Has a program started in it.
    func hold(_ request: inout SpawnRequest) {
        switch kind {
        case .whole(let directory, _): request.cgroup = directory.number
        case .listed(let procs, _): request.cgroupProcs = [procs.number]
        }
    }

    /// Kills everything inside, whatever session or process group it moved to.
    func killAll() {
        wasKilled = true
        switch kind {
        case .whole(let directory, _):
            let file = clinux_openat(directory.number, "cgroup.kill", O_WRONLY, 0)
            guard file >= 0 else { return }
            try? Descriptor(owning: file).writeAll([UInt8(ascii: "1")])
        case .listed:
            for _ in 0..<ProcessCage.passes {
                let members = members
                if members.isEmpty { return }
                for pid in members { _ = clinux_kill(pid, SIGKILL) }
            }
        }
    }

    /// Whether any process is left inside.
    var isPopulated: Bool {
        guard case .whole(_, let events) = kind else { return !members.isEmpty }
        var text = [UInt8](repeating: 0, count: 64)
        let count = clinux_pread(events.number, &text, text.count, 0)
        guard count > 0 else { return false }
        return String(decoding: text[0..<count], as: UTF8.self).hasPrefix("populated 1")
    }

    private var members: [pid_t] {
        guard case .listed(_, let list) = kind,
            let bytes = try? Descriptor.open(list, O_RDONLY).readAll(limit: 1 << 20)
        else { return [] }
        return bytes.split(separator: 10).compactMap { pid_t(String(decoding: $0, as: UTF8.self)) }.filter { $0 > 1 }
    }
}

/// The control groups of started processes, one each, reused once they are empty.
///
/// One each, since it costs little and nothing else catches a program that leaves its session: under emulation, where
/// starting /bin/true takes 1.5 ms, making a group takes 0.12 ms, being born in it (`clone3`) 0.1 ms and moving into
/// it afterwards 0.2 ms or more. So children are born in their group, a few are made ahead, and all are used again.
/// They have no controllers of their own: the limits are on their parent, for the sandbox as a whole.
final class ProcessCages {
    private static let madeAhead = 4

    private let path: String
    private let isVersionTwo: Bool
    private var free: [ProcessCage] = []
    /// Those whose process has ended but which background processes still live in.
    private var lingering: [ProcessCage] = []
    /// Those that were killed as a whole and still have somebody in them.
    private var killed: [ProcessCage] = []
    private var made = 0

    /// - Returns: nil when no group can be made at `path`.
    init?(path: String) {
        self.path = path
        isVersionTwo = access(path + "/cgroup.events", F_OK) == 0 || access(path + "/cgroup.controllers", F_OK) == 0
        for _ in 0..<ProcessCages.madeAhead {
            guard let cage = make() else { break }
            free.append(cage)
        }
        if free.isEmpty { return nil }
    }

    /// A group with nothing in it, or nil when the kernel gives no more.
    func take() -> ProcessCage? {
        if free.isEmpty { collectEmptied() }
        while let cage = free.popLast() {
            guard !cage.wasKilled else {
                removeKilled(cage)
                continue
            }
            cage.holder = nil
            return cage
        }
        return make()
    }

    /// Takes a group back whose process has ended.
    func giveBack(_ cage: ProcessCage) {
        if cage.isPopulated { lingering.append(cage) } else { free.append(cage) }
    }

    /// Removes a group that was killed, now or when it is empty.
    private func removeKilled(_ cage: ProcessCage) {
        killed.append(cage)
        killed.removeAll { rmdir($0.path) == 0 || errno == ENOENT }
    }

    private func collectEmptied() {
        free.append(contentsOf: lingering.filter { !$0.isPopulated })
        if !free.isEmpty { lingering.removeAll { cage in free.contains { $0 === cage } } }
    }

    private func make() -> ProcessCage? {
        made += 1
        let whole = path + "/p\(made)"
        guard mkdir(whole, 0o755) == 0 || errno == EEXIST else { return nil }
        guard isVersionTwo else {
            let list = whole + "/cgroup.procs"
            guard let procs = try? Descriptor.open(list, O_WRONLY) else { return nil }
            return ProcessCage(.listed(procs: procs, path: list), path: whole)
        }
        guard let directory = try? Descriptor.open(whole, O_RDONLY | O_DIRECTORY) else { return nil }
        let events = clinux_openat(directory.number, "cgroup.events", O_RDONLY, 0)
        guard events >= 0 else { return nil }
        return ProcessCage(.whole(directory: directory, events: Descriptor(owning: events)), path: whole)
    }
}
