import Glibc
import MartletAPI
import SandboxModel

/// A configuration that was looked at: what runs, as whom, in which machine. Everything that cannot be honoured has
/// been refused.
struct ContainerPlan: Sendable {
    var arguments: [String]
    var environment: [String]
    var workingDirectory: String
    var user: ContainerConfiguration.User
    var terminal: Bool
    /// The root file system on the host; absolute.
    var root: String
    var readOnlyRoot: Bool
    var hostname: String
    var mounts: [MountDecision]
    var maskedPaths: [String]
    var readOnlyPaths: [String]
    /// Numbers of the capabilities that the container may have at all.
    var capabilities: [Int]
    /// Resource's number, soft and hard limit.
    var limits: [(resource: Int, soft: UInt64, hard: UInt64)]
    var sysctls: [(name: String, value: String)]
    var noNewPrivileges: Bool
    /// Bytes; nil is what the machine has.
    var memoryLimit: Int64?
    var processLimit: Int64?
    var cpus: Int?
    var template: String
    var network: NetworkPolicy
    var diskMiB: Int?
    var annotations: [String: String]

    /// What the guest's kernel and agent take beside the container.
    static let machineOverheadMiB: Int64 = 96
    private static let annotationPrefix = "dev.martlet."
    private static let capabilityNames = [
        "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
        "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
        "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
        "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
        "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
        "CHECKPOINT_RESTORE",
    ]
    private static let limitNames = [
        "CPU", "FSIZE", "DATA", "STACK", "CORE", "RSS", "NPROC", "NOFILE", "MEMLOCK", "AS", "LOCKS", "SIGPENDING",
        "MSGQUEUE", "NICE", "RTPRIO", "RTTIME",
    ]

    /// Looks at a configuration.
    ///
    /// - Throws: `invalid_argument` for what is wrong, `unsupported` for what a machine of its own cannot give.
    init(_ configuration: ContainerConfiguration, bundle: String) throws(MartletError) {
        guard configuration.ociVersion.hasPrefix("1.") else {
            throw .invalid("ociVersion", "'\(configuration.ociVersion.prefix(32))' is not 1.x")
        }
        guard let process = configuration.process, let words = process.args, let program = words.first, !program.isEmpty
        else { throw .invalid("process.args", "is missing or empty") }
        guard let rootfs = configuration.root, !rootfs.path.isEmpty else { throw .invalid("root.path", "is missing") }
        arguments = words
        environment = process.env ?? []
        workingDirectory = process.cwd
        user = process.user
        terminal = process.terminal ?? false
        root = rootfs.path.hasPrefix("/") ? rootfs.path : bundle + "/" + rootfs.path
        readOnlyRoot = rootfs.readonly ?? false
        hostname = configuration.hostname ?? ""
        annotations = configuration.annotations ?? [:]
        noNewPrivileges = process.noNewPrivileges ?? false
        maskedPaths = configuration.linux?.maskedPaths ?? []
        readOnlyPaths = configuration.linux?.readonlyPaths ?? []
        capabilities = try Self.capabilities(process.capabilities?.bounding ?? [])
        limits = try Self.limits(process.rlimits ?? [])
        sysctls = try Self.sysctls(configuration.linux?.sysctl ?? [:])
        mounts = []
        for mount in configuration.mounts ?? [] { mounts.append(try MountDecision(mount)) }
        (memoryLimit, processLimit, cpus) = try Self.resources(configuration.linux?.resources)
        template = annotations[Self.annotationPrefix + "template"] ?? "base"
        diskMiB = try annotations[Self.annotationPrefix + "disk-mb"].map { text throws(MartletError) in
            guard let size = Int(text), size > 0 else { throw .invalid("dev.martlet.disk-mb", "is no number of MiB") }
            return size
        }
        network = try Self.network(configuration, asked: annotations[Self.annotationPrefix + "network"])
        try Self.checkWalls(configuration)
        try checkTexts()
    }

    /// The size of a machine that gives the container its limit; nil is the template's.
    var memoryMiB: Int? {
        guard let memoryLimit else { return nil }
        let whole = (memoryLimit + (1 << 20) - 1) >> 20
        return Int(max(128, whole + Self.machineOverheadMiB + 1) & ~1)
    }

    /// A path in the container: absolute, and plain text.
    static func checkPath(_ path: String, _ field: String) throws(MartletError) {
        guard path.hasPrefix("/"), path.utf8.count < 4096, !path.utf8.contains(0),
            !path.split(separator: "/").contains("..")
        else { throw .invalid(field, "'\(path.prefix(64))' is not an absolute path") }
    }

    private func checkTexts() throws(MartletError) {
        try Self.checkPath(workingDirectory, "process.cwd")
        for path in maskedPaths { try Self.checkPath(path, "linux.maskedPaths") }
        for path in readOnlyPaths { try Self.checkPath(path, "linux.readonlyPaths") }
        for text in arguments + environment + [root] where text.utf8.contains(0) {
            throw .invalid("process", "'\(text.prefix(32))' holds a zero byte")
        }
        for entry in environment where !entry.contains("=") || entry.hasPrefix("=") {
            throw .invalid("process.env", "'\(entry.prefix(32))' is not NAME=value")
        }
        guard hostname.utf8.count <= 64, hostname.utf8.allSatisfy({ $0 > 32 && $0 < 127 }) else {
            throw .invalid("hostname", "is longer than 64 bytes or no name")
        }
        var info = stat()
        guard stat(root, &info) == 0, info.st_mode & S_IFMT == S_IFDIR else {
            throw .invalid("root.path", "'\(root)' is not a directory")
        }
    }

    private static func checkWalls(_ configuration: ContainerConfiguration) throws(MartletError) {
        if configuration.annotations?["io.podman.annotations.privileged"]?.uppercased() == "TRUE" {
            throw MartletError(.unsupported, "--privileged: the host's devices and kernel are not for a microVM")
        }
        if let device = configuration.linux?.devices?.first {
            throw MartletError(.unsupported, "device \(device.path): a microVM has no devices of the host")
        }
        let spaces = configuration.linux?.namespaces ?? []
        for kind in ["pid", "ipc", "uts", "mount"] {
            guard let space = spaces.first(where: { $0.type == kind }) else {
                throw MartletError(.unsupported, "namespace \(kind): a microVM cannot have the host's")
            }
            guard space.path == nil else {
                throw MartletError(.unsupported, "namespace \(kind): a microVM cannot share another container's")
            }
        }
        guard !spaces.contains(where: { $0.type == "user" }) else {
            throw MartletError(.unsupported, "namespace user: ids are not mapped; run podman as root without --userns")
        }
        let hooks = configuration.hooks
        for list in [hooks?.prestart, hooks?.createRuntime, hooks?.createContainer, hooks?.startContainer] {
            if let hook = list?.first {
                throw MartletError(.unsupported, "hook \(hook.path): there is no container process on the host for it")
            }
        }
    }

    private static func network(
        _ configuration: ContainerConfiguration, asked: String?
    ) throws(MartletError) -> NetworkPolicy {
        switch asked {
        case "none": return .closed
        case "public": return NetworkPolicy(mode: .public, allow: [], deny: [])
        case .some(let other):
            throw .invalid("dev.martlet.network", "'\(other.prefix(32))' is neither 'none' nor 'public'")
        case nil: break
        }
        guard let space = configuration.linux?.namespaces?.first(where: { $0.type == "network" }), space.path == nil
        else {
            throw MartletError(
                .unsupported,
                "network: a microVM does not join the host's networks: use --network none, with "
                    + "--annotation dev.martlet.network=public for a filtered way out")
        }
        return .closed
    }

    private static func resources(
        _ resources: ContainerConfiguration.Resources?
    ) throws(MartletError) -> (memory: Int64?, processes: Int64?, cpus: Int?) {
        let memory = resources?.memory?.limit.flatMap { $0 > 0 ? $0 : nil }
        if let memory, !((4 << 20)...(1 << 40)).contains(memory) {
            throw .invalid("linux.resources.memory.limit", "\(memory) is not from 4 MiB to 1 TiB")
        }
        let processes = (resources?.pids?.limit).flatMap { $0 > 0 ? $0 : nil }
        var cpus: Int?
        if let quota = resources?.cpu?.quota, quota > 0 {
            let period = resources?.cpu?.period ?? 100_000
            guard (1...1_000_000_000).contains(period), quota < 1 << 40 else {
                throw .invalid("linux.resources.cpu", "quota and period make no share")
            }
            cpus = min(16, max(1, Int((UInt64(quota) + period - 1) / period)))
        }
        return (memory, processes, cpus)
    }

    private static func capabilities(_ names: [String]) throws(MartletError) -> [Int] {
        var numbers: [Int] = []
        for name in names {
            guard name.hasPrefix("CAP_"), let number = capabilityNames.firstIndex(of: String(name.dropFirst(4))) else {
                throw .invalid("process.capabilities", "'\(name.prefix(32))' is none")
            }
            numbers.append(number)
        }
        return numbers
    }

    private static func limits(
        _ limits: [ContainerConfiguration.ResourceLimit]
    ) throws(MartletError) -> [(resource: Int, soft: UInt64, hard: UInt64)] {
        var known: [(resource: Int, soft: UInt64, hard: UInt64)] = []
        for limit in limits {
            guard limit.type.hasPrefix("RLIMIT_"),
                let number = limitNames.firstIndex(of: String(limit.type.dropFirst(7))), limit.soft <= limit.hard
            else { throw .invalid("process.rlimits", "'\(limit.type.prefix(32))' is no limit") }
            known.append((number, limit.soft, limit.hard))
        }
        return known
    }

    private static func sysctls(
        _ settings: [String: String]
    ) throws(MartletError) -> [(name: String, value: String)] {
        for (name, value) in settings {
            let isPlain = name.utf8.allSatisfy { byte in
                (97...122).contains(byte) || (48...57).contains(byte) || [45, 46, 95].contains(byte)
            }
            guard isPlain, !name.isEmpty, !name.contains(".."), !name.hasPrefix("."), value.utf8.count < 1024,
                !value.utf8.contains(0)
            else { throw .invalid("linux.sysctl", "'\(name.prefix(64))' is none") }
        }
        return settings.sorted { $0.key < $1.key }.map { (name: $0.key, value: $0.value) }
    }
}
