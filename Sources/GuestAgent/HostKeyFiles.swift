import CLinux
import Glibc
import LinuxSystem

/// The SSH host keys of a machine: `ssh_host_KIND_key` and its `.pub`, in one directory.
///
/// Everything goes through the open directory and follows no symbolic link, so that only what lies in it is touched.
package struct HostKeyFiles: Sendable {
    private static let prefix = "ssh_host_"
    private static let privateSuffix = "_key"
    private static let publicSuffix = "_key.pub"
    /// Files that are being put in place; left over from an earlier life, they go as well.
    private static let asidePrefix = ".martlet_"
    /// What a key may take; the largest of RSA is a fifth of it.
    private static let mostBytes = 65_536

    private let path: String

    /// - Parameter path: usually /etc/ssh; it need not be there.
    package init(directory path: String) { self.path = path }

    /// Whether there are any.
    package func areThere() throws(SystemError) -> Bool {
        guard let directory = try open() else { return false }
        guard let reader = DirectoryReader(directory) else { throw SystemError("list", path, errno: ENOMEM) }
        while let name = reader.next() { if HostKeyFiles.isKey(name) { return true } }
        return false
    }

    /// Removes all keys and returns their kinds.
    package func removeAll() throws(SystemError) -> [String] {
        guard let directory = try open() else { return [] }
        guard let reader = DirectoryReader(directory) else { throw SystemError("list", path, errno: ENOMEM) }
        var names: [String] = []
        while let name = reader.next() { if HostKeyFiles.isKey(name) { names.append(name) } }
        var kinds: [String] = []
        for name in names {
            guard unlinkat(reader.descriptor, name, 0) == 0 || errno == ENOENT else {
                throw SystemError("remove", "\(path)/\(name)", errno: errno)
            }
            if name.hasPrefix(HostKeyFiles.prefix), name.hasSuffix(HostKeyFiles.privateSuffix) {
                kinds.append(
                    String(name.dropFirst(HostKeyFiles.prefix.count).dropLast(HostKeyFiles.privateSuffix.count)))
            }
        }
        return kinds
    }

    private static func isKey(_ name: String) -> Bool {
        if name.hasPrefix(asidePrefix) { return true }
        return name.hasPrefix(prefix) && (name.hasSuffix(privateSuffix) || name.hasSuffix(publicSuffix))
    }

    static func name(ofKind kind: String) -> String { prefix + kind + privateSuffix }

    /// Puts a new pair in place, read from `ssh_host_KIND_key` and its `.pub` in another directory.
    ///
    /// - Throws: also `EEXIST` when someone else has made a key of this kind meanwhile, which stays.
    func install(kind: String, from source: String) throws(SystemError) {
        guard let directory = try open() else { throw SystemError("open", path, errno: ENOENT) }
        let name = HostKeyFiles.name(ofKind: kind)
        for (file, mode) in [(name, UInt32(0o600)), (name + ".pub", 0o644)] {
            let content = try Descriptor.open("\(source)/\(file)", O_RDONLY | O_NOFOLLOW).readAll(
                limit: HostKeyFiles.mostBytes)
            try place(content, as: file, mode: mode, in: directory)
        }
    }

    /// Written aside and linked: whole or not there, and never over another file.
    private func place(_ content: [UInt8], as name: String, mode: UInt32, in directory: Descriptor) throws(SystemError)
    {
        let aside = HostKeyFiles.asidePrefix + name
        unlinkat(directory.number, aside, 0)
        let flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW
        let file = Descriptor(
            owning: try SystemError.check(clinux_openat(directory.number, aside, flags, mode), "create", aside))
        defer { unlinkat(directory.number, aside, 0) }
        try file.writeAll(content)
        guard linkat(directory.number, aside, directory.number, name, 0) == 0 else {
            throw SystemError("link", "\(path)/\(name)", errno: errno)
        }
    }

    /// The directory, or nil if there is none; a symbolic link in its place is an error.
    private func open() throws(SystemError) -> Descriptor? {
        do throws(SystemError) {
            return try Descriptor.open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW)
        } catch {
            if error.errno == ENOENT { return nil }
            throw error
        }
    }
}
