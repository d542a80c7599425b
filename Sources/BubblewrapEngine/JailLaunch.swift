import CLinux
import ContainerEngine
import Glibc
import LinuxSystem
import SandboxModel

/// Starts bubblewrap around the agent.
///
/// Bubblewrap itself runs as the sandbox's root, who is nobody on the host: nothing of it is set-user-id or privileged.
struct JailLaunch {
    let program: String
    let scene: ContainerScene

    private static let agent = "/run/.martlet/agent"
    /// What the agent keeps for itself beyond what it lets programs have: to name the sandbox, and to give the rest up.
    private static let capabilities = [
        "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID", "CAP_SETUID",
        "CAP_SETPCAP",
        "CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_SYS_CHROOT", "CAP_SETFCAP", "CAP_SYS_ADMIN",
    ]

    /// Descriptors of the child, in their order.
    private enum Child {
        static let users = 3
        static let filter = 4
        static let facts = 5
        static let gate = 6
        static let listener = 7
    }

    func start() throws -> ContainerLaunch {
        guard let users = scene.users, let namespace = scene.userNamespace, let listener = scene.listener else {
            throw MartletError(.internal, "bubblewrap: it has no users or no socket of its own")
        }
        let filter = try JailLaunch.pipe()
        let facts = try JailLaunch.pipe()
        let gate = try JailLaunch.pipe()
        // It fits: nobody has to read yet.
        try filter.writing.writeAll(JailSystemCalls.program)
        filter.writing.close()
        var request = SpawnRequest(
            program: program, arguments: arguments, environment: [],
            descriptors: [
                nil, scene.console.number, scene.console.number, namespace.number, filter.reading.number,
                facts.writing.number, gate.reading.number, listener.number,
            ])
        request.identity = .init(uid: users.first, gid: users.first)
        request.directory = "/"
        request.cgroup = scene.unified?.number
        request.cgroupProcs = scene.groupFiles.map(\.number)
        request.networkNamespace = scene.network?.number
        // Of all there is on the host, sandboxes are what is to go first.
        request.oomScoreAdjustment = 500
        let child = try ChildProcess.spawn(request)
        withExtendedLifetime((scene, filter)) {}
        facts.writing.close()
        gate.reading.close()
        return ContainerLaunch(monitor: child, gate: JailGate(facts: facts.reading, gate: gate.writing))
    }

    /// Both ends, closed in what is started.
    private static func pipe() throws(SystemError) -> (reading: Descriptor, writing: Descriptor) {
        var ends: [Int32] = [-1, -1]
        try SystemError.check(clinux_pipe(&ends, O_CLOEXEC), "pipe", "bubblewrap")
        return (Descriptor(owning: ends[0]), Descriptor(owning: ends[1]))
    }

    private var arguments: [String] {
        var words = ["bwrap", "--userns", "\(Child.users)"]
        // Its network namespace is empty; what leads out of it is put in afterwards.
        words += ["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-net", "--unshare-cgroup-try"]
        words += ["--as-pid-1", "--hostname", "sandbox", "--clearenv"]
        words += ["--bind", scene.root, "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/run", "--tmpfs", "/sys"]
        if let group = scene.groupPath {
            words += ["--dir", "/sys/fs/cgroup", "--bind", group, "/sys/fs/cgroup"]
        }
        words += ["--remount-ro", "/sys", "--ro-bind", scene.agent, JailLaunch.agent]
        words += ["--seccomp", "\(Child.filter)", "--info-fd", "\(Child.facts)", "--block-fd", "\(Child.gate)"]
        words += ["--cap-drop", "ALL"] + JailLaunch.capabilities.flatMap { ["--cap-add", $0] }
        words += ["--chdir", "/", "--", JailLaunch.agent, "--container", "--listen", "\(Child.listener)"]
        return words + scene.agentArguments(hasNetwork: scene.network != nil)
    }
}

/// Bubblewrap tells the pid of what it started, and waits for a word before it lets that run.
private struct JailGate: ContainerGate {
    let facts: Descriptor
    let gate: Descriptor

    private static let timeoutMilliseconds: Int32 = 20_000

    func firstProcess() throws -> pid_t {
        var text: [UInt8] = []
        while !text.contains(UInt8(ascii: "}")) {
            guard clinux_poll_one(facts.number, Int16(POLLIN), JailGate.timeoutMilliseconds) > 0 else {
                throw MartletError(.timeout, "it did not begin in time")
            }
            let piece = try facts.read(upTo: 4096)
            guard !piece.isEmpty, text.count < 65_536 else { throw MartletError(.unavailable, "it ended at once") }
            text += piece
        }
        // { "child-pid": 4711, … }
        let words = String(decoding: text, as: UTF8.self).split { !$0.isNumber && !$0.isLetter && $0 != "-" }
        guard let index = words.firstIndex(of: "child-pid"), index + 1 < words.count, let pid = pid_t(words[index + 1]),
            pid > 1
        else { throw MartletError(.unavailable, "it does not tell its process") }
        return pid
    }

    func open() throws { try gate.writeAll([1]) }
}
