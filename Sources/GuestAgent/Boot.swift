import CLinux
import Glibc
import GuestProtocol
import LinuxSystem

/// What PID 1 does between the kernel's start and serving the host: modules, root file system, mounts, limits.
package struct Boot {
    private static let rootDevice = "/dev/vda"
    private static let newRoot = "/newroot"
    private static let modules = "/modules"
    private static let controlGroups = "/sys/fs/cgroup"
    private static let sandboxGroup = controlGroups + "/sandbox"
    /// Memory programs cannot take, so that the agent can always work.
    private static let reservedBytes: UInt64 = 16 << 20
    private static let deviceWaitMilliseconds: Int64 = 30_000

    /// Boots the machine and serves until it is switched off; whatever fails is said on the console first.
    package static func run(procError: Int32) -> Never {
        Console.open()
        do throws(SystemError) {
            guard procError == 0 else { throw SystemError("mount", "/proc", errno: procError) }
            try run()
        } catch {
            Console.say("cannot go on: \(error)")
        }
        let machine = Machine(rootDevice: rootDevice)
        (vsock == nil ? machine : machine.endingByRestart).powerOff()
        // Only where the kernel refuses to switch off: PID 1 must not return.
        while true { pause() }
    }

    private static func run() throws(SystemError) {
        umask(0o022)
        try mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC)
        try mount("devtmpfs", "/dev", "devtmpfs", MS_NOSUID, "mode=0755", mayExist: true)
        Console.open()
        try loadModules()
        try enterRoot()
        try mountRest()
        let identity = try IdentityFiles.mount()
        let group = limitPrograms()
        raiseFileLimit()
        _ = clinux_loopback_up()
        connect()
        var configuration = try serving(
            controlGroup: group,
            machine: Machine(
                rootDevice: rootDevice, identity: identity, hostKeys: HostKeyFiles(directory: "/etc/ssh")))
        configuration.maxOpenFiles = 1 << 20
        configuration.guardsMemory = true
        try Agent(configuration).run()
    }

    /// Brings the network up, if there is one. A root file system that stands in its way is no reason not to serve: by
    /// serving it can be mended.
    private static func connect() {
        guard let line = try? AtomicFile.read("/proc/cmdline"),
            let card = NetworkCard(commandLine: String(decoding: line, as: UTF8.self))
        else { return }
        do throws(SystemError) {
            try card.bringUp()
        } catch {
            Console.say("there is no network: \(error)")
        }
    }

    // MARK: File systems

    private static func mount(
        _ source: String, _ target: String, _ type: String, _ flags: Int, _ data: String? = nil,
        mayExist: Bool = false
    ) throws(SystemError) {
        mkdir(target, 0o755)
        let result = clinux_mount(source, target, type, UInt(flags), data)
        if result == -EBUSY, mayExist { return }
        try SystemError.check(result, "mount", target)
    }

    private static func loadModules() throws(SystemError) {
        guard let list = try? AtomicFile.read(modules + "/order") else { return }
        for line in String(decoding: list, as: UTF8.self).split(whereSeparator: \.isNewline) {
            let name = line.trimmed
            guard !name.isEmpty, !name.hasPrefix("#") else { continue }
            try SystemError.check(clinux_load_module(modules + "/" + name), "load module", String(name))
        }
        // The initramfs stays in memory for good; what is used up is not.
        if let entries = DirectoryReader(path: modules) {
            while entries.advance() { if let name = entries.entryName { unlinkat(entries.descriptor, name, 0) } }
        }
        rmdir(modules)
    }

    private static func enterRoot() throws(SystemError) {
        try waitForDevice { clinux_block_device_bytes(rootDevice) > 0 ? true : nil }
        try mount(rootDevice, newRoot, "ext4", MS_NOATIME)
        for name in ["/proc", "/sys", "/dev"] {
            mkdir(newRoot + name, 0o755)
            try SystemError.check(
                clinux_mount(name, newRoot + name, nil, UInt(MS_MOVE), nil), "move mount", name)
        }
        try SystemError.check(clinux_switch_root(newRoot), "switch root", newRoot)
    }

    private static func mountRest() throws(SystemError) {
        let quiet = MS_NOSUID | MS_NODEV
        try mount("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "mode=0620,ptmxmode=0666,gid=5")
        try mount("tmpfs", "/dev/shm", "tmpfs", quiet, "mode=1777")
        try mount("tmpfs", "/run", "tmpfs", quiet, "mode=0755,size=25%")
        mkdir("/run/lock", 0o1777)
        chmod("/run/lock", 0o1777)
        for (link, target) in [
            ("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"), ("stdout", "/proc/self/fd/1"),
            ("stderr", "/proc/self/fd/2"),
        ] {
            symlink(target, "/dev/" + link)
        }
    }

    // MARK: Limits

    /// Makes the control group all programs live in; nil, said on the console, where the kernel has none.
    private static func limitPrograms() -> String? {
        do throws(SystemError) {
            // Without this option every start of a program in a group waits for all tasks to pass a quiet point.
            let flags = MS_NOSUID | MS_NODEV | MS_NOEXEC
            do throws(SystemError) {
                try mount("cgroup2", controlGroups, "cgroup2", flags, "favordynmods")
            } catch {
                try mount("cgroup2", controlGroups, "cgroup2", flags)
            }
            mkdir(sandboxGroup, 0o755)
            try put("+pids +memory", controlGroups + "/cgroup.subtree_control")
            let metrics = MetricsReader().read()
            try put("\(programLimit(memory: metrics.memoryTotal))", sandboxGroup + "/pids.max")
            // Less than what is free now, or the kernel as a whole runs out first and chooses worse whom to kill.
            if metrics.memoryAvailable > 2 * reservedBytes {
                try put("\(metrics.memoryAvailable - reservedBytes)", sandboxGroup + "/memory.max")
            }
            // What programs make among the control groups then lies below theirs, and is held and killed with them.
            try SystemError.check(
                clinux_mount(sandboxGroup, controlGroups, nil, UInt(MS_BIND), nil), "mount", controlGroups)
            return controlGroups
        } catch {
            Console.say("programs run without limits: \(error)")
            return nil
        }
    }

    /// How many tasks all programs together may be: told on the kernel's command line, or by the memory.
    private static func programLimit(memory: UInt64) -> UInt64 {
        if let line = try? AtomicFile.read("/proc/cmdline") {
            for word in String(decoding: line, as: UTF8.self).split(whereSeparator: \.isWhitespace) {
                if word.hasPrefix("martlet.pids="), let limit = UInt64(word.dropFirst(13)) { return limit }
            }
        }
        return min(max((memory >> 20) * 2, 256), 4096)
    }

    private static func put(_ text: String, _ path: String) throws(SystemError) {
        do throws(SystemError) {
            try Descriptor.open(path, O_WRONLY).writeAll(Array(text.utf8))
        } catch {
            throw SystemError("write", path, errno: error.errno)
        }
    }

    /// PID 1 starts with 1024 descriptors; a thousand streams may need more.
    private static func raiseFileLimit() {
        var limit = rlimit(rlim_cur: 65_536, rlim_max: 1 << 20)
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }

    // MARK: The port

    /// Where the kernel's command line says that hosts connect to; nil where it says nothing of it.
    private static var vsock: VsockPort? {
        let line = (try? AtomicFile.read("/proc/cmdline")) ?? []
        return VsockPort(commandLine: String(decoding: line, as: UTF8.self))
    }

    /// Where the host is served: at its virtio port, or at a vsock port if the kernel's command line names one, which it
    /// does in machines that have no other.
    private static func serving(
        controlGroup: String?, machine: Machine
    ) throws(SystemError) -> AgentConfiguration {
        guard let vsock else {
            let port = try openPort()
            Console.say("agent \(AgentVersion.string) serves on \(ProtocolGeneration.portName)")
            return AgentConfiguration(
                descriptor: port, endsAtHangup: false, reaping: .everyChild, controlGroup: controlGroup,
                machine: machine, log: { Console.say($0) })
        }
        var configuration = AgentConfiguration(
            listener: try vsock.listen(), reaping: .everyChild, controlGroup: controlGroup,
            machine: machine.endingByRestart, log: { Console.say($0) })
        configuration.admitsHost = VsockPort.isFromHost
        Console.say("agent \(AgentVersion.string) serves on vsock port \(vsock.number)")
        return configuration
    }

    /// Waits for the host's port and opens it.
    private static func openPort() throws(SystemError) -> Int32 {
        let path = try waitForDevice { portPath() }
        return try SystemError.check(clinux_open(path, O_RDWR | O_NONBLOCK, 0), "open", path)
    }

    private static func portPath() -> String? {
        let directory = "/sys/class/virtio-ports"
        guard let ports = DirectoryReader(path: directory) else { return nil }
        while let name = ports.next() {
            guard let text = try? AtomicFile.read("\(directory)/\(name)/name", limit: 256) else { continue }
            if String(decoding: text, as: UTF8.self).trimmed == ProtocolGeneration.portName { return "/dev/" + name }
        }
        return nil
    }

    /// Looks again whenever a device appears, and every few milliseconds, since names come a little later.
    @discardableResult
    private static func waitForDevice<T>(_ look: () -> T?) throws(SystemError) -> T {
        let inotify = clinux_inotify_create()
        defer { close(inotify) }
        _ = clinux_inotify_add(inotify, "/dev", UInt32(IN_CREATE))
        let end = Clocks.monotonicNanoseconds + deviceWaitMilliseconds * 1_000_000
        while true {
            if let found = look() { return found }
            guard Clocks.monotonicNanoseconds < end else { throw SystemError("wait", "device", errno: ENODEV) }
            _ = clinux_poll_one(inotify, Int16(POLLIN), 10)
        }
    }
}

extension StringProtocol {
    /// Without white space at both ends.
    fileprivate var trimmed: String {
        let start = drop(while: \.isWhitespace)
        return String(start.reversed().drop(while: \.isWhitespace).reversed())
    }
}

/// The guest's console: the last place to say why nothing else works.
enum Console {
    /// Makes descriptors 0, 1 and 2 the console where they are free; an initramfs may have had none to start with.
    static func open() {
        for number: Int32 in 0...2 where fcntl(number, F_GETFD) < 0 {
            let opened = clinux_open("/dev/console", O_RDWR | O_NOCTTY, 0)
            if opened >= 0, opened != number {
                dup2(opened, number)
                close(opened)
            }
        }
    }

    /// Prints one line.
    static func say(_ text: String) {
        let line = Array("martlet-guest: \(text)\n".utf8)
        _ = line.withUnsafeBytes { clinux_write(2, $0.baseAddress, $0.count) }
    }
}
