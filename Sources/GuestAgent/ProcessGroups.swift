import CLinux
import Glibc
import LinuxSystem

/// Signals to a process and what it started, where no control group holds them together.
enum ProcessGroups {
    /// Kills the group `pid` leads, its whole session, and the descendants that left both.
    static func killEverything(of pid: Int32) {
        // Twice: what was forked while the first pass went through /proc is caught by the second. Looked for before
        // anything is killed, since the children of a dead process are no longer known as its.
        for _ in 0..<2 {
            let members = members(of: pid)
            _ = clinux_kill(-pid, SIGKILL)
            for member in members where member > 1 { _ = clinux_kill(member, SIGKILL) }
        }
    }

    /// Every process of the session, and every descendant of the leader that is still linked to it by parents.
    private static func members(of leader: Int32) -> [Int32] {
        var parents: [(pid: Int32, parent: Int32, session: Int32)] = []
        guard let proc = DirectoryReader(path: "/proc") else { return [] }
        while let name = proc.next() {
            guard let pid = Int32(name), let facts = facts(of: pid) else { continue }
            parents.append((pid, facts.parent, facts.session))
        }
        var found: Set<Int32> = [leader]
        var grew = true
        while grew {
            grew = false
            for entry in parents where !found.contains(entry.pid) {
                if entry.session == leader || found.contains(entry.parent) {
                    found.insert(entry.pid)
                    grew = true
                }
            }
        }
        return Array(found)
    }

    private static func facts(of pid: Int32) -> (parent: Int32, session: Int32)? {
        guard let bytes = try? Descriptor.open("/proc/\(pid)/stat", O_RDONLY).read(upTo: 1024),
            let close = bytes.lastIndex(of: UInt8(ascii: ")"))
        else { return nil }
        let fields = bytes[(close + 1)...].split(separator: UInt8(ascii: " "))
        guard fields.count > 3, let parent = Int32(String(decoding: fields[1], as: UTF8.self)),
            let session = Int32(String(decoding: fields[3], as: UTF8.self))
        else { return nil }
        return (parent, session)
    }
}
