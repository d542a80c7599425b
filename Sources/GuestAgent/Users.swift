import CLinux
import Glibc
import GuestProtocol
import LinuxSystem

/// Who a process runs as, with what login would know about them.
struct Account: Equatable {
    var name: String
    var uid: UInt32
    var gid: UInt32
    var groups: [UInt32]
    var home: String
    var shell: String
}

/// The guest's accounts, read from /etc/passwd and /etc/group; a static binary has no name service.
final class Users {
    private struct Stamp: Equatable {
        var seconds = 0
        var nanoseconds = 0
        var size = -1
        var inode: UInt64 = 0
    }
    private struct Entry {
        var name: String
        var uid: UInt32
        var gid: UInt32
        var home: String
        var shell: String
    }
    private struct Group {
        var name: String
        var gid: UInt32
        var members: [String]
    }

    private let root: String
    private var stamps = [Stamp(), Stamp()]
    private var entries: [Entry] = []
    private var groups: [Group] = []

    /// - Parameter root: the directory that holds `etc`; empty for the real one.
    init(root: String = "") { self.root = root }

    /// The account named by `user`, `user:group` or numbers; empty is the superuser.
    func account(_ text: String) throws(GuestFailure) -> Account {
        refresh()
        let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        var account = try named(parts.first ?? "")
        if parts.count == 2 { account.gid = try groupNumber(parts[1]) }
        return account
    }

    /// The user and group `text` names, where either may be missing (`user`, `user:group`, `:group`).
    func owner(_ text: String) throws(GuestFailure) -> (uid: UInt32, gid: UInt32) {
        let account = try account(text)
        return (account.uid, account.gid)
    }

    private func named(_ name: String) throws(GuestFailure) -> Account {
        let wanted = name.isEmpty ? "root" : name
        let number = UInt32(wanted)
        if let entry = entries.first(where: { $0.name == wanted })
            ?? entries.first(where: { number != nil && $0.uid == number })
        {
            let more = groups.filter { $0.members.contains(entry.name) && $0.gid != entry.gid }.map(\.gid)
            return Account(
                name: entry.name, uid: entry.uid, gid: entry.gid, groups: [entry.gid] + more,
                home: entry.home.hasPrefix("/") ? entry.home : "/", shell: entry.shell)
        }
        if wanted == "root" {
            return Account(name: "root", uid: 0, gid: 0, groups: [0], home: "/root", shell: "/bin/sh")
        }
        // UInt32.max means "leave it as it is" to the kernel.
        guard let number, number != .max else { throw GuestFailure(.invalidArgument, "user \(wanted): no such user") }
        return Account(name: wanted, uid: number, gid: number, groups: [number], home: "/", shell: "/bin/sh")
    }

    private func groupNumber(_ name: String) throws(GuestFailure) -> UInt32 {
        if let group = groups.first(where: { $0.name == name }) { return group.gid }
        guard let number = UInt32(name), number != .max else {
            throw GuestFailure(.invalidArgument, "group \(name): no such group")
        }
        return number
    }

    private func refresh() {
        if changed("/etc/passwd", 0) {
            entries = lines("/etc/passwd").compactMap { fields in
                guard fields.count >= 6, let uid = UInt32(fields[2]), let gid = UInt32(fields[3]) else { return nil }
                let shell = fields.count > 6 && !fields[6].isEmpty ? fields[6] : "/bin/sh"
                return Entry(name: fields[0], uid: uid, gid: gid, home: fields[5], shell: shell)
            }
        }
        if changed("/etc/group", 1) {
            groups = lines("/etc/group").compactMap { fields in
                guard fields.count >= 3, let gid = UInt32(fields[2]) else { return nil }
                let members = fields.count > 3 ? fields[3].split(separator: ",").map(String.init) : []
                return Group(name: fields[0], gid: gid, members: members)
            }
        }
    }

    private func changed(_ path: String, _ index: Int) -> Bool {
        var info = stat()
        var stamp = Stamp()
        if stat(root + path, &info) == 0, info.st_mode & S_IFMT == S_IFREG {
            stamp = Stamp(
                seconds: info.st_mtim.tv_sec, nanoseconds: info.st_mtim.tv_nsec, size: Int(info.st_size),
                inode: UInt64(info.st_ino))
        }
        guard stamp != stamps[index] else { return false }
        stamps[index] = stamp
        return true
    }

    private func lines(_ path: String) -> [[String]] {
        guard let file = try? Descriptor.open(root + path, O_RDONLY | O_NONBLOCK),
            let bytes = try? file.readAll(limit: 1 << 20)
        else { return [] }
        return bytes.split(separator: UInt8(ascii: "\n")).map { line in
            line.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
                .map { String(decoding: $0, as: UTF8.self) }
        }
    }
}
