import Glibc
import SandboxModel

/// What becomes of one mount a bundle asks for: nothing of the host is ever shared with the machine.
enum MountDecision: Equatable, Sendable {
    /// A file system of the guest's own kernel.
    case filesystem(type: String, flags: UInt, data: String, destination: String)
    /// A file of the host, copied in.
    case file(source: String, destination: String)

    /// What podman and its like keep beside every container; copied although it is not read-only.
    private static let identityFiles: Set<String> = [
        "/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/run/.containerenv",
    ]
    private static let flags: [String: UInt] = ["ro": 1, "nosuid": 2, "nodev": 4, "noexec": 8, "noatime": 1024]
    /// Options of tmpfs and devpts that are passed on; all others only steer how mounts spread on a host.
    private static let passed = ["size=", "mode=", "uid=", "gid=", "nr_inodes=", "ptmxmode=", "newinstance"]

    /// Decides on a mount.
    ///
    /// - Throws: `unsupported` for what would need a part of the host inside the machine.
    init(_ mount: ContainerConfiguration.Mount) throws(MartletError) {
        let destination = mount.destination
        try ContainerPlan.checkPath(destination, "mounts.destination")
        let options = mount.options ?? []
        let flags = options.reduce(UInt(0)) { $0 | (Self.flags[$1] ?? 0) }
        let data = options.filter { option in Self.passed.contains { option.hasPrefix($0) } }.joined(separator: ",")
        let isBind = mount.type == "bind" || options.contains("bind") || options.contains("rbind")
        if isBind {
            self = try Self.bind(mount, options)
            return
        }
        guard data.utf8.count < 1024, data.utf8.allSatisfy({ $0 > 32 && $0 < 127 }) else {
            throw .invalid("mounts.options", "\(destination): hold characters that no option has")
        }
        switch mount.type {
        case "proc", "sysfs", "mqueue":
            self = .filesystem(type: mount.type ?? "", flags: flags, data: "", destination: destination)
        case "cgroup", "cgroup2":
            self = .filesystem(type: "cgroup2", flags: flags, data: "", destination: destination)
        case "tmpfs", "devpts":
            self = .filesystem(type: mount.type ?? "", flags: flags, data: data, destination: destination)
        default:
            throw MartletError(
                .unsupported, "mount \(destination): type '\(mount.type ?? "")' cannot be had inside a machine")
        }
    }

    private static func bind(
        _ mount: ContainerConfiguration.Mount, _ options: [String]
    ) throws(MartletError) -> MountDecision {
        let (source, destination) = (mount.source ?? "", mount.destination)
        if destination == "/dev/shm" {
            return .filesystem(type: "tmpfs", flags: 2 | 4 | 8, data: "mode=1777", destination: destination)
        }
        var info = stat()
        guard source.hasPrefix("/"), stat(source, &info) == 0 else {
            throw MartletError(.invalidArgument, "mount \(destination): source '\(source)' is not there")
        }
        guard info.st_mode & S_IFMT == S_IFREG, identityFiles.contains(destination) || options.contains("ro") else {
            throw MartletError(
                .unsupported,
                "mount \(destination): a microVM shares nothing with the host: '\(source)' would have to be a "
                    + "read-only file, which is copied in; put data into the image, or use --tmpfs")
        }
        guard info.st_size <= GuestSpec.maxFileBytes else {
            throw MartletError(
                .tooLarge, "mount \(destination): '\(source)' has \(info.st_size) bytes, too many to copy")
        }
        return .file(source: source, destination: destination)
    }
}
