import CLinux
import Glibc
import GuestProtocol
import LinuxSystem

/// What the first process of a sandbox does that is no machine of its own: a jail of the host's kernel, or gVisor's.
///
/// Mounts, network and limits are there already. It takes what is left for itself - its identity, its control groups - and
/// gives up what programs must not inherit.
package struct ContainerBoot {
    /// What it is told on its command line.
    struct Options: Equatable {
        /// A listening unix socket it was started with.
        var listener: Int32?
        /// The pipes it was started with otherwise: one to read from, one to write to.
        var input: Int32?
        var output: Int32?
        /// Memory the sandbox may use, in bytes.
        var memoryBytes: UInt64 = 0
        var cpus = 1
        /// Who is asked for addresses; nil where there is no network.
        var nameServer: String?

        /// - Returns: nil when that makes no sense.
        init?(_ arguments: [String]) {
            var rest = arguments[...]
            while let name = rest.popFirst() {
                guard let value = rest.popFirst() else { return nil }
                switch name {
                case "--listen": listener = Int32(value)
                case "--input": input = Int32(value)
                case "--output": output = Int32(value)
                case "--memory": memoryBytes = UInt64(value) ?? 0
                case "--cpus": cpus = Int(value) ?? 0
                case "--name-server": nameServer = value
                default: return nil
                }
            }
            guard (listener == nil) != (input == nil), (input == nil) == (output == nil), memoryBytes > 0, cpus > 0
            else { return nil }
        }
    }

    private static let controlGroups = "/sys/fs/cgroup"
    /// gVisor's kernel has groups of version 1; those that count tasks hold programs.
    private static let taskGroups = controlGroups + "/pids"
    private static let openFiles: UInt = 1 << 20
    /// What programs may have at most, as root: what it takes to own files, be users, send packets and signal each other.
    /// No mounts, no devices, no other namespaces, nothing of the kernel's.
    private static let capabilities: [Int] = [
        0,  // CHOWN
        1,  // DAC_OVERRIDE
        3,  // FOWNER
        4,  // FSETID
        5,  // KILL
        6,  // SETGID
        7,  // SETUID
        8,  // SETPCAP
        10,  // NET_BIND_SERVICE
        13,  // NET_RAW
        18,  // SYS_CHROOT
        31,  // SETFCAP
    ]

    /// Serves until it is killed.
    package static func run(_ arguments: [String]) -> Never {
        guard let options = Options(arguments) else {
            Console.say(
                "usage: martlet-guest --container (--listen NUMBER | --input NUMBER --output NUMBER) --memory BYTES "
                    + "--cpus COUNT [--name-server ADDRESS]")
            exit(2)
        }
        do throws(SystemError) {
            try run(options)
        } catch {
            Console.say("cannot serve: \(error)")
            exit(2)
        }
        exit(0)
    }

    private static func run(_ options: Options) throws(SystemError) {
        umask(0o022)
        try SystemError.check(clinux_close_others(options.listener ?? 2), "close", "descriptors")
        mkdir("/run/lock", 0o1777)
        chmod("/run/lock", 0o1777)
        chmod("/dev/shm", 0o1777)
        // What kept gVisor from putting a file system of its own there.
        rmdir("/tmp/.martlet")
        let identity = try IdentityFiles.place()
        if let server = options.nameServer { placeResolver(server) }
        confine()
        // What is spoken with through pipes is gVisor's: captured as a whole, without the agent's help, and without what
        // its kernel leaves to others.
        let isGVisor = options.input != nil
        var configuration = AgentConfiguration(
            listener: options.listener, reaping: .everyChild, controlGroup: ownGroup(),
            machine: ContainerMachine(
                identity: identity, hostKeys: isGVisor ? HostKeyFiles(directory: "/etc/ssh") : nil),
            log: { Console.say($0) })
        configuration.descriptor = options.input
        configuration.output = options.output
        configuration.holdsPrograms = false
        configuration.tellsOfResize = isGVisor
        configuration.maxOpenFiles = raiseFileLimit()
        configuration.allotment = MetricsReader.Allotment(memoryBytes: options.memoryBytes, cpus: options.cpus)
        Console.say("agent \(AgentVersion.string) serves")
        try Agent(configuration).run()
    }

    /// Gives up what no program may have. That a kernel lacks Landlock is no reason not to serve.
    private static func confine() {
        let landlock = clinux_landlock_confine()
        if landlock < 0 { Console.say("no Landlock: \(String(cString: strerror(-landlock)))") }
        let mask = capabilities.reduce(UInt64(0)) { $0 | 1 << UInt64($1) }
        let kept = clinux_keep_capabilities(mask)
        if kept < 0 {
            Console.say("capabilities stay: \(String(cString: strerror(-kept)))")
            exit(2)
        }
    }

    /// The control group programs get theirs below; nil where there is none to write to.
    private static func ownGroup() -> String? {
        if access(controlGroups + "/cgroup.procs", W_OK) == 0, access(controlGroups + "/cgroup.kill", F_OK) == 0 {
            return controlGroups
        }
        guard access(taskGroups + "/cgroup.procs", W_OK) == 0 else { return nil }
        let group = taskGroups + "/sandbox"
        // Tasks are limited otherwise: each of these groups counts its own only, not those of the groups below it.
        mkdir(group, 0o755)
        return group
    }

    /// - Returns: what programs get.
    private static func raiseFileLimit() -> Int64? {
        var limit = rlimit()
        let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
        guard getrlimit(resource, &limit) == 0 else { return nil }
        let most = min(limit.rlim_max, openFiles)
        limit.rlim_cur = min(most, 65_536)
        setrlimit(resource, &limit)
        return Int64(most)
    }

    private static func placeResolver(_ server: String) {
        // Whatever the image has there, a link to nowhere included.
        unlink("/etc/resolv.conf")
        try? AtomicFile.write(
            Array("nameserver \(server)\n".utf8), to: "/etc/resolv.conf", mode: 0o644, durable: false)
    }
}
