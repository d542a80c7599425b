import CLinux
import Glibc
import GuestClient
import LinuxSystem
import Logging
import NIOCore
import NIOPosix
import SandboxEngine
import SandboxModel
import Synchronization
import SystemPackage

/// What engines without a virtual machine have in common: roots from templates with a bounded layer on top, control
/// groups, users, the way to the agent, adoption and clearing up. An engine only says how a container is started.
package actor ContainerHost {
    /// What the operator and the installation set.
    package struct Configuration: Sendable {
        /// Where it keeps what it makes for itself; one daemon's own.
        package var directory: String
        /// Names the control groups; this daemon's own, and the same whenever it is started.
        package var groups: String
        /// The path of the guest agent.
        package var agent: String

        package init(directory: String, groups: String, agent: String) {
            self.directory = directory
            self.groups = groups
            self.agent = agent
        }
    }

    /// Users of sandboxes on the host: above those that QEMU processes run as, and below what some take for negative.
    private static let firstUser: UInt32 = 0x8000_0000
    private static let ranges: UInt32 = 8192

    package nonisolated let configuration: Configuration
    nonisolated let group: any EventLoopGroup
    nonisolated let logger: Logger
    private let disks: BlankDisks
    private var thread: Task<MountThread, any Error>?
    private var parent: ControlGroupParent?
    private let users = UserNumbers(
        first: ContainerHost.firstUser, count: ContainerHost.ranges, step: UserRange.count)
    private var agent: String?

    package init(configuration: Configuration, logger: Logger, group: any EventLoopGroup) {
        self.configuration = configuration
        self.logger = logger
        self.group = group
        disks = BlankDisks(directory: "\(configuration.directory)/disks")
    }

    /// Why no container can be made here; nil when nothing is known to be in the way.
    package func obstacle() -> String? {
        guard geteuid() == 0 else {
            return "only root can make mounts and users for it; the daemon is user \(geteuid())"
        }
        guard access(configuration.agent, X_OK) == 0 else {
            return "\(configuration.agent) is missing: run scripts/build-guest"
        }
        guard access("/dev/loop-control", R_OK | W_OK) == 0 else {
            return "there is no /dev/loop-control: load the kernel module loop"
        }
        do {
            _ = try groups()
        } catch {
            return "control groups: \(error)"
        }
        return nil
    }

    private func groups() throws(SystemError) -> ControlGroupParent {
        if let parent { return parent }
        mkdir(configuration.directory, 0o700)
        let made = try ControlGroupParent.make(configuration.groups)
        // What the host refuses is known by now. It is there again with its first group, and goes with the last one.
        made.remove()
        parent = made
        return made
    }

    private func mounts() async throws -> MountThread {
        if let thread { return try await thread.value }
        let task = Task { try await MountThread.start() }
        thread = task
        do {
            return try await task.value
        } catch {
            thread = nil
            throw error
        }
    }

    /// The agent as it is now, in a file that is never written again.
    private func keptAgent() throws -> String {
        if let agent { return agent }
        let kept = try KeptAgent.keep(configuration.agent, in: configuration.directory)
        agent = kept
        return kept
    }

    // MARK: Starting

    /// Starts a container in a home of its own; returns once its agent has answered. Nothing is left if that fails.
    ///
    /// - Parameter launch: starts the container from what is prepared, on a thread in the container's mount namespace. The
    ///   process it returns is in the control group and the slot's network, and ends with the container.
    package func start(
        _ image: MachineImage, in directory: String, network: MachineNetwork?, engine: String, needs: ContainerNeeds,
        capturing: (any ContainerCapture)? = nil,
        launch: @escaping @Sendable (ContainerScene) throws -> ContainerLaunch
    ) async throws -> any Machine {
        let group = ControlGroup(ContainerHost.groupName(directory), in: try groups())
        let range = needs.mapsUsers ? UserRange(first: users.take()) : nil
        var started: (process: ProcessHandle, console: Descriptor)?
        do {
            let (scene, launched) = try await prepare(image, directory, network, needs, group, range, launch)
            let process = try ProcessHandle.open(pid: launched.monitor.pid)
            started = (process, scene.console)
            try await admit(launched, process, network)
            try ContainerRecord(
                engine: engine, process: process.identity, image: image.digest, users: range,
                channel: needs.channel
            ).write(in: directory)
            try launched.gate?.open()
            let guest = try await firstContact(process, directory, needs.channel, isRestored: image.isCaptured)
            return ContainerMachine(
                process: process, group: group, guest: guest, console: scene.console, image: image,
                directory: directory, capturing: capturing, memoryGuard: memoryGuard(of: group, users: range)
            ) { [users] in if let range { users.giveBack(range.first) } }
        } catch {
            let failure = started.map { ContainerHost.explained(error, $0.console, engine) } ?? error
            await ContainerHost.end(group, started?.process)
            if let range { users.giveBack(range.first) }
            throw failure
        }
    }

    private func prepare(
        _ image: MachineImage, _ directory: String, _ network: MachineNetwork?, _ needs: ContainerNeeds,
        _ group: ControlGroup, _ range: UserRange?,
        _ launch: @escaping @Sendable (ContainerScene) throws -> ContainerLaunch
    ) async throws -> (ContainerScene, ContainerLaunch) {
        let thread = try await mounts()
        guard let template = image.baseDisks.first else {
            throw MartletError(.internal, "container: its image has no disk")
        }
        let root = try await thread.root(of: template)
        let disk: String
        if let written = image.layers.last {
            disk = written
        } else {
            disk = try await disks.path(bytes: image.diskBytes)
        }
        let capture = image.isCaptured ? FilePath(image.deviceState).removingLastComponent().string : nil
        var inner: Descriptor?
        if let network, needs.makesNetwork {
            let made = try await thread.newNetwork()
            try await network.join(made)
            inner = made
        }
        let (shape, outer, innerNetwork) = (image.shape, network?.namespace, inner)
        let agent = try KeptAgent.link(capture.map(KeptAgent.path) ?? keptAgent(), into: directory)
        let limits = ContainerHost.limits(of: shape, needs)
        return try await thread.inCopy {
            try group.create(limits)
            var scene = try ContainerScene.make(
                root: root, disk: disk, directory: directory, agent: agent, shape: shape, users: range,
                channel: needs.channel, group: group, network: outer, innerNetwork: innerNetwork)
            scene.capture = capture
            return (scene, try launch(scene))
        }
    }

    /// Gives a container that waits before its first instruction its network.
    private func admit(
        _ launched: ContainerLaunch, _ process: ProcessHandle, _ network: MachineNetwork?
    ) async throws {
        guard let gate = launched.gate else { return }
        let first = try await NIOThreadPool.singleton.runIfActive { try gate.firstProcess() }
        if let network { try await network.join(NetworkNamespace.of(process: first)) }
    }

    /// How long an agent may take to answer.
    private static let patience = Duration.seconds(30)

    private func firstContact(
        _ process: ProcessHandle, _ directory: String, _ channel: ContainerChannel, isRestored: Bool
    ) async throws -> GuestConnection {
        // One that goes on may be in the middle of a frame that the other one's host has got.
        let guest = try await connect(directory, channel, takeover: isRestored)
        // What has ended does not answer: no need to wait for it.
        let watch = Task {
            await ExitWatcher.shared.waitUntilEndedOrCancelled(process)
            if !Task.isCancelled { guest.close() }
        }
        defer { watch.cancel() }
        do {
            _ = try await guest.ping(timeout: ContainerHost.patience)
            return guest
        } catch {
            guest.close()
            throw error
        }
    }

    /// What the container said when it did not come to answer.
    private static func explained(_ error: any Error, _ console: Descriptor, _ engine: String) -> any Error {
        if error is CancellationError { return error }
        let bytes = (try? console.read(upTo: 4096, at: 0)) ?? []
        let said =
            String(decoding: bytes, as: UTF8.self).split(separator: "\n").last.map { ": \($0.prefix(300))" } ?? ""
        let failure = error as? MartletError
        return MartletError(
            failure?.code ?? .unavailable, "\(engine): it did not start: \(failure?.message ?? "\(error)")\(said)")
    }

    private func connect(
        _ directory: String, _ channel: ContainerChannel, takeover: Bool
    ) async throws -> GuestConnection {
        switch channel {
        case .socket:
            let socket = try UnixSocket.connect(
                in: Descriptor.openDirectory(directory), name: ContainerScene.socketName)
            return try await GuestConnection.start(
                descriptor: socket.release(), takeover: takeover, group: group, logger: logger)
        case .pipes:
            let (reading, writing) = try GuestPipes.open(in: directory)
            return try await GuestConnection.start(
                reading: reading.release(), writing: writing.release(), takeover: takeover, group: group,
                logger: logger)
        }
    }

    /// Ends all of a container; also in a task that was cancelled.
    static func end(_ group: ControlGroup, _ process: ProcessHandle?) async {
        await ContainerHost.blocking { group.kill() }
        if let process {
            process.signal(SIGKILL)
            await ExitWatcher.shared.waitUntilEnded(process)
        }
        await ContainerHost.blocking { group.removeAll() }
    }

    private static func blocking(_ work: @escaping @Sendable () -> Void) async {
        await withCheckedContinuation { continuation in
            NIOThreadPool.singleton.submit { _ in
                work()
                continuation.resume()
            }
        }
    }

    /// Programs with users on this host are processes of this host, and their memory is for us to see to.
    private func memoryGuard(of group: ControlGroup, users: UserRange?) -> MemoryGuard? {
        users.map { _ in MemoryGuard(group: group, logger: logger) }
    }

    private static func limits(of shape: MachineShape, _ needs: ContainerNeeds) -> ControlGroupLimits {
        ControlGroupLimits(
            memoryBytes: UInt64(shape.memoryMiB + needs.overheadMiB) << 20, cpus: Double(shape.cpus),
            tasks: min(max(shape.memoryMiB * 2, 256), 4096) + needs.overheadTasks)
    }

    // MARK: What an earlier daemon has left

    private static func groupName(_ directory: String) -> String {
        String(directory.split(separator: "/").last ?? "machine")
    }

    /// Takes over a container that an earlier daemon left in `directory`; nil when it is gone or none of this engine's.
    package func adopt(
        _ image: MachineImage, in directory: String, engine: String, capturing: (any ContainerCapture)? = nil
    ) async throws -> (any Machine)? {
        guard let record = try? ContainerRecord.read(in: directory), record.engine == engine,
            record.image == image.digest, let process = ProcessHandle.reopen(record.process), !process.hasEnded
        else { return nil }
        let group = ControlGroup(ContainerHost.groupName(directory), in: try groups())
        if let range = record.users { users.keep(range.first) }
        // One that was kept ready stands still.
        _ = try await NIOThreadPool.singleton.runIfActive { try group.thaw() }
        let guest = try await connect(directory, record.channel, takeover: true)
        let console = try Descriptor.open("/proc/\(process.pid)/fd/2", O_RDWR)
        return ContainerMachine(
            process: process, group: group, guest: guest, console: console, image: image, directory: directory,
            capturing: capturing, memoryGuard: memoryGuard(of: group, users: record.users)
        ) { [users] in if let range = record.users { users.giveBack(range.first) } }
    }

    /// Ends what earlier daemons left of containers in directories that are gone by now.
    package func reclaimOthers(than directories: Set<String>) async {
        guard let parent = try? groups() else { return }
        let kept = Set(directories.map(ContainerHost.groupName))
        for group in parent.groups() where !kept.contains(group.name) { await ContainerHost.end(group, nil) }
    }

    /// Ends whatever an earlier daemon left of a container in `directory`. Idempotent.
    package func reclaim(_ directory: String) async {
        guard let parent = try? groups() else { return }
        let group = ControlGroup(ContainerHost.groupName(directory), in: parent)
        let process = (try? ContainerRecord.read(in: directory)).flatMap { ProcessHandle.reopen($0.process) }
        if group.exists || process != nil { await ContainerHost.end(group, process) }
    }
}
