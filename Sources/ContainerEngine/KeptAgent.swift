import CLinux
import Glibc
import LinuxSystem
import SandboxModel

/// Agents that containers run, as files that nobody writes to: what goes on from a capture maps the very file it had
/// mapped, whatever has been installed since.
enum KeptAgent {
    /// Where the agent of a machine, or of a capture, is in its directory.
    static func path(in directory: String) -> String { "\(directory)/agent" }

    /// Copies the agent, unless that was done before.
    ///
    /// - Returns: the path of the copy, which says of which state of the file it is.
    static func keep(_ agent: String, in directory: String) throws(SystemError) -> String {
        var info = stat()
        guard stat(agent, &info) == 0 else { throw SystemError("stat", agent, errno: errno) }
        let name = "agent-\(info.st_size)-\(info.st_mtim.tv_sec)-\(info.st_mtim.tv_nsec)"
        let kept = "\(directory)/\(name)"
        if access(kept, X_OK) == 0 { return kept }
        let aside = "\(directory)/.\(RandomID.make(prefix: "a"))"
        defer { unlink(aside) }
        try copy(agent, to: aside)
        guard rename(aside, kept) == 0 else { throw SystemError("rename", kept, errno: errno) }
        return kept
    }

    /// Makes a kept agent appear in a directory.
    ///
    /// - Returns: its path there.
    @discardableResult
    static func link(_ agent: String, into directory: String) throws(SystemError) -> String {
        let target = path(in: directory)
        if Glibc.link(agent, target) == 0 { return target }
        guard errno == EXDEV || errno == EMLINK || errno == EPERM else {
            throw SystemError("link", target, errno: errno)
        }
        try copy(agent, to: target)
        return target
    }

    /// A restore looks at size and time to tell whether a file is the one it had.
    private static func copy(_ source: String, to target: String) throws(SystemError) {
        var info = stat()
        guard stat(source, &info) == 0 else { throw SystemError("stat", source, errno: errno) }
        let copy = try SparseFile.copy(source, to: target, mode: 0o555)
        var times = [info.st_atim, info.st_mtim]
        guard fchmod(copy.number, 0o555) == 0, futimens(copy.number, &times) == 0 else {
            throw SystemError("copy", target, errno: errno)
        }
    }
}
