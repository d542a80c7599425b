import CLinux
import Glibc

/// A block device on a file; gone by itself once neither this nor any mount uses it.
public struct LoopDevice: Sendable {
    private let path: String
    private let device: Descriptor

    /// - Parameter file: open for what the device is for.
    public init(_ file: Descriptor, readOnly: Bool) throws(SystemError) {
        var name = [CChar](repeating: 0, count: Int(CLINUX_LOOP_NAME))
        device = Descriptor(
            owning: try SystemError.check(
                clinux_loop_attach(file.number, readOnly ? 1 : 0, &name), "attach", "loop device"))
        path = String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// Mounts the ext4 file system on it, which holds the device from then on; never with set-user-id programs or devices.
    public func mount(at target: String, readOnly: Bool = false, options: String = "") throws(SystemError) {
        // Without an owner in between it would be gone before it is mounted.
        defer { withExtendedLifetime(device) {} }
        try MountNamespace.mount(path, at: target, type: "ext4", readOnly: readOnly, options: options)
    }
}
