import CLinux
import Glibc
import LinuxSystem
import SandboxModel

/// Everything a container finds when it is started: made in the mount namespace of its own, and gone with that.
package struct ContainerScene: Sendable {
    package static let socketName = "guest.sock"
    static let place = MountThread.place + "/machine"
    static let upper = place + "/upper"

    /// The root: the template's files, and over them what the sandbox writes, bounded by its disk's size.
    package let root = "\(ContainerScene.place)/root"
    /// The agent, read-only.
    package let agent = "\(ContainerScene.place)/agent"
    /// The sandbox's control group in the version 2 tree; nil where there is no such tree.
    package var groupPath: String?
    /// The machine's directory.
    package var directory: String
    package var shape: MachineShape
    package var users: UserRange?
    package var userNamespace: Descriptor?
    /// Where output goes that nobody reads; it takes room on the sandbox's own disk.
    package var console: Descriptor
    /// The socket the agent listens at, where that is how it is spoken with.
    package var listener: Descriptor?
    /// The pipes to it otherwise.
    package var pipes: GuestPipes?
    /// The directory of the capture it goes on from; nil for one that begins.
    package var capture: String?
    /// The group in the version 2 tree, to be born in.
    package var unified: Descriptor?
    /// The group in each version 1 tree, for a process to put itself in.
    package var groupFiles: [Descriptor]
    /// The slot's namespace.
    package var network: Descriptor?
    /// The sandbox's own, where it was made before the container; its card is in it already.
    package var innerNetwork: Descriptor?

    /// The sandbox's own disk, in its machine's directory.
    static func disk(in directory: String) -> String { "\(directory)/disk.ext4" }

    /// Makes all of it; the thread is in a copy of the mount thread's namespace.
    ///
    /// - Parameter disk: what the sandbox's own disk is a copy of.
    static func make(
        root: String, disk source: String, directory: String, agent: String, shape: MachineShape, users: UserRange?,
        channel: ContainerChannel, group: ControlGroup, network: Descriptor?, innerNetwork: Descriptor?
    ) throws -> ContainerScene {
        for name in ["lower", "upper", "root", "group"] { try MountThread.makeFolder("\(place)/\(name)") }
        let namespace = try users?.makeNamespace()
        try MountNamespace.bindReadOnly(root, at: "\(place)/lower", owners: namespace)

        let disk = try SparseFile.copy(source, to: disk(in: directory))
        // Nothing of a sandbox outlives a power cut: what it flushes need not reach the host's disk.
        try LoopDevice(disk, readOnly: false).mount(at: upper, options: "nobarrier")
        for name in ["data", "work"] { try MountThread.makeFolder("\(upper)/\(name)") }
        if let users, chown("\(upper)/data", users.first, users.first) != 0 {
            throw SystemError("chown", upper, errno: errno)
        }
        try MountNamespace.mount(
            "martlet", at: "\(place)/root", type: "overlay",
            options: "lowerdir=\(place)/lower,upperdir=\(upper)/data,workdir=\(upper)/work")
        let console = try Descriptor.open("\(upper)/console", O_RDWR | O_CREAT | O_APPEND)

        try Descriptor.open("\(place)/agent", O_WRONLY | O_CREAT, mode: 0o555).close()
        try MountNamespace.bindReadOnly(agent, at: "\(place)/agent")
        let unified = try group.openUnified()
        if let unified { try delegate(unified, to: users) }
        var listener: Descriptor?
        var pipes: GuestPipes?
        switch channel {
        case .socket: listener = try UnixSocket.listen(in: Descriptor.openDirectory(directory), name: socketName)
        case .pipes: pipes = try GuestPipes.make(in: directory)
        }
        return ContainerScene(
            groupPath: unified == nil ? nil : "\(place)/group", directory: directory, shape: shape, users: users,
            userNamespace: namespace, console: console, listener: listener, pipes: pipes, unified: unified,
            groupFiles: try group.openVersionOneProcs(), network: network, innerNetwork: innerNetwork)
    }

    /// Lets the sandbox make groups below its own, and nothing else.
    private static func delegate(_ group: Descriptor, to users: UserRange?) throws(SystemError) {
        let source = "/proc/thread-self/fd/\(group.number)"
        if let users {
            for name in ["", "/cgroup.procs", "/cgroup.threads", "/cgroup.subtree_control"] {
                guard chown(source + name, users.first, users.first) == 0 || errno == ENOENT else {
                    throw SystemError("chown", "control group", errno: errno)
                }
            }
        }
        try MountNamespace.bind(source, at: "\(place)/group")
    }

    /// What the agent is told on its command line.
    package func agentArguments(hasNetwork: Bool) -> [String] {
        ["--memory", "\(UInt64(shape.memoryMiB) << 20)", "--cpus", "\(shape.cpus)"]
            + (hasNetwork ? ["--name-server", "\(GuestNetwork.gateway)"] : [])
    }
}

/// What an engine wants to have of a container's surroundings.
package struct ContainerNeeds: Sendable {
    /// Whether root inside is another user outside.
    package var mapsUsers: Bool
    /// Whether the container's network is made before it is started, rather than by what starts it.
    package var makesNetwork: Bool
    package var channel: ContainerChannel
    /// Memory and tasks beyond what the sandbox's programs may have.
    package var overheadMiB: Int
    package var overheadTasks: Int

    package init(
        mapsUsers: Bool, makesNetwork: Bool, channel: ContainerChannel, overheadMiB: Int, overheadTasks: Int
    ) {
        self.mapsUsers = mapsUsers
        self.makesNetwork = makesNetwork
        self.channel = channel
        self.overheadMiB = overheadMiB
        self.overheadTasks = overheadTasks
    }
}

/// A container that was started.
package struct ContainerLaunch: Sendable {
    /// The process that waits for the container's end, and lives in the slot's network.
    package var monitor: ChildProcess
    /// What it waits at; nil where it needs nothing more.
    package var gate: (any ContainerGate)?

    package init(monitor: ChildProcess, gate: (any ContainerGate)? = nil) {
        self.monitor = monitor
        self.gate = gate
    }
}

/// Holds a container back until its network is as it should be.
package protocol ContainerGate: Sendable {
    /// The container's first process, seen from the host; its network namespace is the container's own. Blocks the thread.
    func firstProcess() throws -> pid_t

    /// Lets it go on.
    func open() throws
}
