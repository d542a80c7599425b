import CLinux

/// Kinds of namespaces, as the kernel numbers them (clone(2)).
public struct NamespaceKinds: OptionSet, Sendable {
    public let rawValue: UInt32

    public init(rawValue: UInt32) { self.rawValue = rawValue }

    public static let cgroup = NamespaceKinds(rawValue: UInt32(CLINUX_NEW_CGROUP))
    public static let uts = NamespaceKinds(rawValue: UInt32(CLINUX_NEW_UTS))
    public static let ipc = NamespaceKinds(rawValue: UInt32(CLINUX_NEW_IPC))
    public static let pid = NamespaceKinds(rawValue: UInt32(CLINUX_NEW_PID))
    public static let network = NamespaceKinds(rawValue: UInt32(CLINUX_NEW_NETWORK))
    public static let mount = NamespaceKinds(rawValue: UInt32(CLINUX_NEW_MOUNT))
}
