import CLinux
import Glibc
import LinuxSystem

/// The files of one machine: a directory that belongs to us and that the machine's process cannot change, and in it the
/// files it was given. So it can neither add files nor put a link where we expect a file of ours.
struct MachineFiles: Sendable {
    /// On the host.
    let directory: String
    /// Who the process runs as; nil where it is not jailed, and so runs as we do.
    let owner: UInt32?

    /// Where the directory is in a jail.
    static let place = "/machine"

    func path(_ name: String) -> String { "\(directory)/\(name)" }

    /// The path of a file as the process sees it.
    func inside(_ name: String) -> String { owner == nil ? path(name) : "\(MachineFiles.place)/\(name)" }

    /// Makes an empty file.
    func make(_ name: String) throws(SystemError) {
        try Descriptor.open(path(name), O_WRONLY | O_CREAT | O_EXCL).close()
    }

    /// Lets the process write to a file.
    func give(_ name: String) throws(SystemError) {
        guard let owner else { return }
        try MachineFiles.hand(name, in: directory, to: owner, mode: 0o600)
    }

    /// Makes a file one that nobody writes to any more. What the process has open for writing it keeps open: give back
    /// only what it is known to have opened anew for reading.
    func takeBack(_ name: String) throws(SystemError) {
        guard owner != nil else { return }
        try MachineFiles.hand(name, in: directory, to: 0, mode: 0o444)
    }

    /// Makes a plain file of a directory somebody else's; a link in its place is not followed.
    static func hand(
        _ name: String, in directory: String, to owner: UInt32, mode: UInt32
    ) throws(SystemError) {
        let folder = try Descriptor.openDirectory(directory)
        try SystemError.check(
            clinux_give_away(folder.number, name, owner, owner, mode), "give away", "\(directory)/\(name)")
    }

    /// What the process has written into a file, but no more than `limit` bytes.
    ///
    /// - Throws: `SystemError`, with `EFBIG` where there is more.
    func read(_ name: String, limit: Int) throws(SystemError) -> [UInt8] {
        let folder = try Descriptor.openDirectory(directory)
        let file = Descriptor(
            owning: try SystemError.check(clinux_open_plain(folder.number, name, O_RDONLY), "open", path(name)))
        let bytes = try file.readAll(limit: limit + 1)
        guard bytes.count <= limit else { throw SystemError("read", path(name), errno: EFBIG) }
        return bytes
    }
}
