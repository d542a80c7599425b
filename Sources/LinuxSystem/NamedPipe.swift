import CLinux
import Glibc

/// A pipe with a name: it lasts, with what is in it, whoever of its two ends goes and comes again.
public enum NamedPipe {
    /// `F_SETPIPE_SZ` of the kernel's headers, which the Glibc module does not export.
    private static let setSize: Int32 = 1031

    /// Makes one and opens both of its ends, so that neither a reader nor a writer ever finds the other side gone.
    ///
    /// - Parameter capacity: bytes it is to hold; a host that allows less keeps its own measure.
    public static func make(_ path: String, capacity: Int32) throws(SystemError) -> Descriptor {
        guard mkfifo(path, 0o600) == 0 else { throw SystemError("mkfifo", path, errno: errno) }
        let pipe = try Descriptor.open(path, O_RDWR)
        _ = fcntl(pipe.number, setSize, capacity)
        return pipe
    }

    /// Opens the end to read from, which ends once nobody can write any more.
    public static func openReading(_ path: String) throws(SystemError) -> Descriptor {
        try Descriptor.open(path, O_RDONLY | O_NONBLOCK)
    }

    /// Opens the end to write to.
    ///
    /// - Throws: `ENXIO` when nobody could read.
    public static func openWriting(_ path: String) throws(SystemError) -> Descriptor {
        try Descriptor.open(path, O_WRONLY | O_NONBLOCK)
    }
}
