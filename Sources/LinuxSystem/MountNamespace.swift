import CLinux
import Glibc

/// Mount namespaces, which belong to threads here: what is said of "the thread" is the calling one.
public enum MountNamespace {
    /// The thread's own.
    public static func current() throws(SystemError) -> Descriptor {
        Descriptor(owning: try SystemError.check(clinux_mountns_current(), "open", "mount namespace"))
    }

    /// Moves the thread into a new copy of its own, from which no mount comes back.
    public static func enterCopy() throws(SystemError) {
        try SystemError.check(clinux_mountns_unshare(), "unshare", "mount namespace")
    }

    /// Moves the thread.
    public static func enter(_ namespace: Descriptor) throws(SystemError) {
        try SystemError.check(clinux_mountns_enter(namespace.number), "setns", "mount namespace")
    }

    /// Mounts something; never with set-user-id programs or devices.
    public static func mount(
        _ source: String, at target: String, type: String, readOnly: Bool = false, options: String = ""
    ) throws(SystemError) {
        let flags = UInt(MS_NOSUID | MS_NODEV | MS_NOATIME) | (readOnly ? UInt(MS_RDONLY) : 0)
        try SystemError.check(clinux_mount(source, target, type, flags, options), "mount \(source) at", target)
    }

    /// Makes a file or directory appear at another place, which exists.
    public static func bind(_ source: String, at target: String) throws(SystemError) {
        try SystemError.check(clinux_mount(source, target, nil, UInt(MS_BIND), nil), "bind \(source) at", target)
    }

    /// Makes a tree appear at another place, read-only, with its owners as a user namespace says.
    public static func bindReadOnly(
        _ source: String, at target: String, owners: Descriptor? = nil
    ) throws(SystemError) {
        try SystemError.check(
            clinux_mount_mapped(source, target, owners?.number ?? -1), "bind \(source) at", target)
    }

    /// Takes a mount away; what uses it still has it.
    public static func unmount(_ target: String) throws(SystemError) {
        try SystemError.check(clinux_unmount(target), "unmount", target)
    }
}
