/// What the program that sets a container up inside its machine is told: pairs of zero-ended texts, so that nothing in
/// them is ever a word of a shell or a program.
struct GuestSpec {
    /// Where everything of the container is in the machine.
    static let directory = "/var/lib/martlet-oci"
    /// Most bytes of one file that is copied in beside the image.
    static let maxFileBytes = 1 << 20

    private(set) var bytes: [UInt8] = []
    /// Files of the host to copy in, by number.
    private(set) var files: [String] = []

    init(_ plan: ContainerPlan) {
        for word in plan.arguments { add("arg", word) }
        for entry in plan.environment { add("env", entry) }
        add("cwd", plan.workingDirectory)
        add("uid", "\(plan.user.uid)")
        add("gid", "\(plan.user.gid)")
        add("umask", "\((plan.user.umask ?? 0o022) & 0o777)")
        for group in plan.user.additionalGids ?? [] { add("group", "\(group)") }
        for capability in plan.capabilities { add("cap", "\(capability)") }
        for limit in plan.limits { add("rlimit", "\(limit.resource) \(limit.soft) \(limit.hard)") }
        for setting in plan.sysctls {
            add("sysctl", setting.name.replacing(".", with: "/") + " " + setting.value)
        }
        for mount in plan.mounts { add(mount) }
        for path in plan.maskedPaths { add("mask", path) }
        for path in plan.readOnlyPaths { add("readonly", path) }
        if plan.readOnlyRoot { add("readonlyroot", "1") }
        if plan.noNewPrivileges { add("nonewprivs", "1") }
        if plan.terminal { add("terminal", "1") }
        if !plan.hostname.isEmpty { add("hostname", plan.hostname) }
        if let limit = plan.memoryLimit { add("memory", "\(limit)") }
        if let limit = plan.processLimit { add("pids", "\(limit)") }
    }

    private mutating func add(_ mount: MountDecision) {
        switch mount {
        case .filesystem(let type, let flags, let data, let destination):
            add("mount", "\(type) \(flags) \(data) \(destination)")
        case .file(let source, let destination):
            add("mount", "file \(files.count)  \(destination)")
            files.append(source)
        }
    }

    private mutating func add(_ key: String, _ value: String) {
        bytes += Array(key.utf8) + [0] + Array(value.utf8) + [0]
    }
}
