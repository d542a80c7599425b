import CLinux
import Glibc

/// Network namespaces, which belong to threads: what is said here of "the thread" is the calling one.
public enum NetworkNamespace {
    /// The thread's own.
    public static func current() throws(SystemError) -> Descriptor {
        Descriptor(owning: try SystemError.check(clinux_netns_current(), "open", "network namespace"))
    }

    /// The one a process lives in.
    public static func of(process: pid_t) throws(SystemError) -> Descriptor {
        Descriptor(
            owning: try SystemError.check(
                clinux_netns_of_process(process), "open", "network namespace of process \(process)"))
    }

    /// Moves the thread.
    public static func enter(_ namespace: Descriptor) throws(SystemError) {
        try SystemError.check(clinux_netns_enter(namespace.number), "setns", "network namespace")
    }

    /// Moves the thread into a new one, which has nothing but a loopback interface that is down.
    public static func enterNew() throws(SystemError) -> Descriptor {
        try SystemError.check(clinux_netns_unshare(), "unshare", "network namespace")
        return try current()
    }

    /// Whether two descriptors name the same namespace.
    public static func areSame(_ one: Descriptor, _ other: Descriptor) -> Bool {
        var first = stat()
        var second = stat()
        guard fstat(one.number, &first) == 0, fstat(other.number, &second) == 0 else { return false }
        return first.st_dev == second.st_dev && first.st_ino == second.st_ino
    }

    /// Sets a parameter below /proc/sys/net for the thread's namespace.
    public static func set(_ parameter: String, to value: String) throws(SystemError) {
        let path = "/proc/sys/net/" + parameter
        let file = try Descriptor.open(path, O_WRONLY)
        do { try file.writeAll(Array(value.utf8)) } catch { throw SystemError("write", path, errno: error.errno) }
    }

    /// A parameter below /proc/sys/net of the thread's namespace, without the line's end; nil if it is not there.
    public static func parameter(_ name: String) -> String? {
        guard let file = try? Descriptor.open("/proc/sys/net/" + name, O_RDONLY),
            let bytes = try? file.readAll(limit: 4096)
        else { return nil }
        return String(decoding: bytes.prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
    }
}
