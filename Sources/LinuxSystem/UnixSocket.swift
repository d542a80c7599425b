import CLinux
import Glibc

/// Unix stream sockets addressed by directory and name, so that the 107 bytes an address holds are no limit.
public enum UnixSocket {
    /// A listening socket at `name`; one that was there is replaced.
    public static func listen(in directory: Descriptor, name: String) throws(SystemError) -> Descriptor {
        Descriptor(owning: try SystemError.check(clinux_listen_unix(directory.number, name, 16), "listen", name))
    }

    /// Connects to the socket at `name`.
    public static func connect(in directory: Descriptor, name: String) throws(SystemError) -> Descriptor {
        Descriptor(owning: try SystemError.check(clinux_connect_unix(directory.number, name), "connect", name))
    }
}

extension Descriptor {
    /// Opens a directory.
    public static func openDirectory(_ path: String) throws(SystemError) -> Descriptor {
        try open(path, O_RDONLY | O_DIRECTORY)
    }
}
