import ContainerEngine
import FoundationEssentials
import Glibc
import LinuxSystem
import SandboxModel

/// Starts `runsc` around the agent.
struct GVisorLaunch {
    let command: GVisorCommand
    let scene: ContainerScene

    private static let agent = "/run/martlet/agent"
    /// What root inside has of gVisor's kernel; the host's never hears of it.
    private static let capabilities = [
        "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID", "CAP_SETUID",
        "CAP_SETPCAP",
        "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_SETFCAP", "CAP_SYS_ADMIN",
    ]

    /// Descriptors of the child, in their order.
    private enum Child {
        static let network = 3
    }

    func start() throws -> ContainerLaunch {
        let bundle = "\(scene.directory)/bundle"
        guard let pipes = scene.pipes else { throw MartletError(.internal, "gvisor: it has no pipes") }
        for folder in [bundle, command.state] where mkdir(folder, 0o700) != 0 {
            throw SystemError("mkdir", folder, errno: errno)
        }
        try AtomicFile.write(
            Array(JSONEncoder().encode(specification)), to: "\(bundle)/config.json", durable: false)
        let verb: [String]
        if let capture = scene.capture {
            verb = ["restore", "--image-path", capture]
        } else {
            // An empty /tmp gets a file system of its own, in memory, where files cannot be moved to.
            mkdir("\(scene.root)/tmp/.martlet", 0o700)
            verb = ["run"]
        }
        if let inner = scene.innerNetwork { try GVisorLaunch.hideSettings(of: inner) }
        var request = SpawnRequest(
            program: command.program,
            arguments: command.arguments(verb + ["--bundle", bundle, GVisorCommand.container]),
            environment: ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C"],
            descriptors: [
                pipes.input.number, pipes.output.number, scene.console.number, scene.innerNetwork?.number,
            ])
        request.directory = "/"
        request.cgroup = scene.unified?.number
        request.cgroupProcs = scene.groupFiles.map(\.number)
        request.networkNamespace = scene.network?.number
        // Of all there is on the host, sandboxes are what is to go first.
        request.oomScoreAdjustment = 500
        let child = try ChildProcess.spawn(request)
        withExtendedLifetime(scene) {}
        pipes.close()
        return ContainerLaunch(monitor: child)
    }

    /// runsc takes a network namespace for the host's own when it finds settings there that older kernels showed nowhere
    /// else, and refuses it. In the container's mount namespace they are covered.
    private static func hideSettings(of network: Descriptor) throws {
        let before = try NetworkNamespace.current()
        try NetworkNamespace.enter(network)
        // The directory is another one in every network namespace.
        let covered = Result {
            try MountNamespace.mount("martlet", at: "/proc/sys/net/core", type: "tmpfs", readOnly: true)
        }
        try NetworkNamespace.enter(before)
        try covered.get()
    }

    private var specification: ContainerBundle {
        let memory = UInt64(scene.shape.memoryMiB) << 20
        // Of all programs of a user together. A small one takes a good MiB of the host's memory, half of it gVisor's own: many
        // more than this would exhaust what the sandbox and gVisor have together, and end it as a whole.
        let tasks = UInt64(min(max(scene.shape.memoryMiB / 2, 128), 2048))
        let process = ContainerBundle.Process(
            args: [GVisorLaunch.agent, "--container", "--input", "0", "--output", "1"]
                + scene.agentArguments(hasNetwork: scene.innerNetwork != nil),
            capabilities: [
                "bounding": GVisorLaunch.capabilities, "effective": GVisorLaunch.capabilities,
                "permitted": GVisorLaunch.capabilities,
            ],
            // What a single program may have; all together are bounded by the control group, in which gVisor's kernel is
            // too, so that the sandbox ends as a whole when they exceed it.
            rlimits: [
                .init("RLIMIT_NOFILE", 1 << 20), .init("RLIMIT_DATA", memory), .init("RLIMIT_CORE", 0),
                .init("RLIMIT_NPROC", tasks),
            ])
        let mounts: [ContainerBundle.Mount] = [
            .init(destination: "/proc", type: "proc", source: "proc"),
            .init(destination: "/dev", type: "tmpfs", source: "tmpfs"),
            .init(destination: "/sys", type: "sysfs", source: "sysfs", options: ["nosuid", "noexec", "nodev", "ro"]),
            .init(destination: "/sys/fs/cgroup", type: "cgroup", source: "cgroup"),
            .init(destination: "/run", type: "tmpfs", source: "tmpfs", options: ["nosuid", "nodev"]),
            .init(destination: GVisorLaunch.agent, type: "bind", source: scene.agent, options: ["bind", "ro"]),
        ]
        let network = scene.innerNetwork == nil ? nil : "/proc/self/fd/\(Child.network)"
        return ContainerBundle(
            process: process, root: .init(path: scene.root), mounts: mounts,
            linux: .init(
                namespaces: [
                    .init(type: "pid"), .init(type: "ipc"), .init(type: "uts"), .init(type: "mount"),
                    .init(type: "network", path: network),
                ]))
    }
}
