import CLinux
import Glibc
import Jail
import LinuxSystem
import SandboxEngine
import SandboxModel

/// Shuts QEMU processes in: each as a user of its own, in namespaces of its own, with a root that holds QEMU, its
/// libraries and the machine's files and nothing else, without capabilities, behind a filter of system calls, within the
/// limits of a control group.
package final class QEMUJail: Sendable {
    /// What the operator may set.
    package struct Configuration: Sendable {
        /// The path of `martlet-jailer`.
        package var jailer: String
        /// Names the control groups; this daemon's own, and the same whenever it is started.
        package var groups: String
        /// Memory a machine may hold beyond its guest's, in MiB: QEMU itself, translated code, page cache of its disk.
        package var memoryOverheadMiB = 320
        /// Bytes a second a machine may read from the disk, and write to it; nil is no limit.
        package var ioBytesPerSecond: UInt64? = 512 << 20

        /// What keeps this host from jailing anything; nil when nothing is known to. Blocks the thread.
        package var obstacle: String? {
            guard geteuid() == 0 else {
                return "only root can make users and namespaces for it, and this is user \(geteuid())"
            }
            guard access(jailer, X_OK) == 0 else { return "\(jailer) is missing: run scripts/build-guest" }
            guard clinux_filter_action_available(SystemCallFilter.Action.kill.number) == 1 else {
                return "this kernel has no filters of system calls (seccomp)"
            }
            do {
                let found = try ControlGroupHierarchies.onThisHost()
                for controller in [ControlGroupHierarchies.Controller.memory, .cpu, .pids]
                where found.controllers[controller] == nil {
                    return "there is no control group controller '\(controller.rawValue)'"
                }
                return nil
            } catch {
                return "control groups: \(error)"
            }
        }

        /// - Parameter dataDirectory: the daemon's; there is one daemon at a time for it.
        package init(jailer: String, dataDirectory: String) {
            self.jailer = jailer
            groups = ControlGroupParent.name(for: dataDirectory)
        }
    }

    /// The first of the users machines run as: above all ranges that systemd hands out (UIDS-GIDS in its
    /// documentation), and below those some programs take for negative.
    static let firstUser: UInt32 = 1_879_048_192
    private static let userCount: UInt32 = 268_000_000
    /// Threads a QEMU has beside its processors': its main loop, RCU, and as many as 64 for disk requests.
    private static let spareTasks = 96
    /// What a tool may hold, page cache of what it copies included.
    private static let toolMemory: UInt64 = 512 << 20

    let configuration: Configuration
    let parent: ControlGroupParent
    private let root: QEMURoot
    /// Whom its processes run as.
    let users = UserNumbers(first: QEMUJail.firstUser, count: QEMUJail.userCount)

    /// - Throws: `failed_precondition` saying what this host cannot do, and how to go on without a jail.
    init(
        configuration: Configuration, program: String, directory: String, removesOldRoots: Bool = false
    ) async throws {
        self.configuration = configuration
        if let obstacle = configuration.obstacle { throw QEMUJail.cannot(obstacle) }
        do {
            parent = try ControlGroupParent.make(configuration.groups)
        } catch {
            throw QEMUJail.cannot("control groups: \(error)")
        }
        root = try await QEMURoot.make(for: program, in: directory, removesOthers: removesOldRoots)
    }

    private static func cannot(_ why: String) -> MartletError {
        MartletError(
            .failedPrecondition,
            "qemu: it cannot be jailed: \(why). Start the daemon with --insecure-no-jail to run sandboxes without this wall"
        )
    }

    // MARK: Control groups

    /// The control group of the machine in a directory.
    private static func group(of directory: String, in parent: ControlGroupParent) -> ControlGroup {
        ControlGroup(String(directory.split(separator: "/").last ?? ""), in: parent)
    }

    /// Ends whatever runs in the group of a directory's machine, and removes it. Blocks the thread.
    func clear(_ directory: String, user: UInt32?) {
        QEMUJail.clear(directory, in: parent)
        if let user { users.giveBack(user) }
    }

    /// Ends what earlier daemons have left in groups of machines that nobody took over. Blocks the thread.
    static func clearOthers(than directories: Set<String>, in parent: ControlGroupParent) {
        parent.endGroups(otherThan: Set(directories.map { group(of: $0, in: parent).name }))
    }

    static func clear(_ directory: String, in parent: ControlGroupParent) {
        // A group that goes takes an empty parent with it; without one it is to go all the same.
        defer { parent.remove() }
        let group = group(of: directory, in: parent)
        guard group.exists else { return }
        group.kill()
        group.remove()
    }

    private func limits(_ arguments: QEMUArguments, directory: String) -> ControlGroupLimits {
        let memory = arguments.shape.memoryMiB + arguments.translationBufferMiB + configuration.memoryOverheadMiB
        return ControlGroupLimits(
            memoryBytes: UInt64(memory) << 20,
            // Half a processor for what QEMU does beside the guest's.
            cpus: Double(arguments.shape.cpus) + 0.5, tasks: arguments.shape.cpus + QEMUJail.spareTasks,
            ioBytesPerSecond: configuration.ioBytesPerSecond, disk: directory)
    }

    // MARK: Starting

    /// Starts QEMU in a jail. Blocks the thread.
    ///
    /// - Parameters:
    ///   - descriptors: what QEMU is started with, from descriptor 0 on.
    ///   - network: the namespace it lives in; nil gives it an empty one.
    ///   - largestFile: bytes no file it writes can outgrow.
    func spawn(
        _ program: String, _ arguments: QEMUArguments, files: MachineFiles, user: UInt32, descriptors: [Int32?],
        network: Descriptor?, largestFile: UInt64
    ) throws -> ChildProcess {
        let (jailed, binds) = try arguments.jailed(files)
        let group = QEMUJail.group(of: files.directory, in: parent)
        var spec = JailSpec(
            root: root.path, uid: user, gid: try gid(for: arguments.accelerator, user: user), hostname: "martlet",
            program: program, arguments: [program] + jailed.build())
        spec.binds = binds + QEMUJail.devices(arguments.accelerator)
        let limits = limits(arguments, directory: files.directory)
        return try spawn(spec, group, limits, descriptors, network, largestFile: largestFile)
    }

    /// Starts one of QEMU's tools, whose jail this is, on files of its own. Blocks the thread.
    ///
    /// - Parameters:
    ///   - name: of its control group, which whoever calls ends and removes.
    ///   - directory: a path on the disk that it reads and writes.
    ///   - binds: its files, at places the root has.
    func spawnTool(
        _ program: String, _ arguments: [String], name: String, directory: String, user: UInt32,
        binds: [JailSpec.Bind], descriptors: [Int32?], largestFile: UInt64
    ) throws -> (process: ChildProcess, group: ControlGroup) {
        let group = ControlGroup(name, in: parent)
        var spec = JailSpec(
            root: root.path, uid: user, gid: user, hostname: "martlet", program: program,
            arguments: [program] + arguments)
        spec.binds = binds + QEMUJail.devices(.tcg)
        let limits = ControlGroupLimits(
            memoryBytes: QEMUJail.toolMemory, cpus: 1, tasks: QEMUJail.spareTasks,
            ioBytesPerSecond: configuration.ioBytesPerSecond, disk: directory)
        let process = try spawn(spec, group, limits, descriptors, nil, largestFile: largestFile)
        do throws(SystemError) {
            try group.add(process.pid, isBornInUnified: true)
        } catch let error where error.errno != ESRCH {
            // Where it is in no group yet nothing else would end it.
            _ = clinux_kill(process.pid, SIGKILL)
            if let pidfd = process.pidfd {
                _ = clinux_poll_one(pidfd.number, Int16(POLLIN), 5000)
                _ = clinux_pidfd_reap(pidfd.number)
            }
            group.kill()
            group.remove()
            throw error
        } catch {
            // It has ended already, and its end tells why.
        }
        return (process, group)
    }

    private func spawn(
        _ jailed: JailSpec, _ group: ControlGroup, _ limits: ControlGroupLimits, _ descriptors: [Int32?],
        _ network: Descriptor?, largestFile: UInt64
    ) throws -> ChildProcess {
        try group.createWithDiskLimitsIfPossible(limits)
        do {
            var spec = jailed
            spec.limits = QEMUJail.processLimits(largestFile: largestFile)
            spec.filter = QEMUSystemCalls.filter
            spec.environment = ["PATH=/usr/bin:/bin", "LANG=C"]
            return try start(spec, group, name: group.name, descriptors, network)
        } catch {
            group.kill()
            group.remove()
            throw error
        }
    }

    /// Puts a process that was started into the groups it could not be born in, those of version 1. Takes some 10 ms, in
    /// which QEMU may start, but not run a guest. Blocks the thread.
    func limit(_ pid: pid_t, in directory: String) throws(SystemError) {
        try QEMUJail.group(of: directory, in: parent).add(pid, isBornInUnified: true)
    }

    private func start(
        _ spec: JailSpec, _ group: ControlGroup, name: String, _ descriptors: [Int32?], _ network: Descriptor?
    ) throws -> ChildProcess {
        var ends: [Int32] = [0, 0]
        try SystemError.check(clinux_pipe(&ends, 0), "pipe")
        let (reading, writing) = (Descriptor(owning: ends[0]), Descriptor(owning: ends[1]))
        // It fits: nobody has to read yet.
        try writing.writeAll(try spec.encoded())
        writing.close()
        let unified = try group.openUnified()
        var request = SpawnRequest(
            program: configuration.jailer, arguments: ["martlet-jailer", "\(descriptors.count)", name],
            environment: [], descriptors: descriptors + [reading.number])
        request.newNamespaces = [.mount, .pid, .ipc, .uts]
        if let network { request.networkNamespace = network.number } else { request.newNamespaces.insert(.network) }
        request.cgroup = unified?.number
        request.directory = "/"
        // Of all there is on the host, sandboxes are what is to go first.
        request.oomScoreAdjustment = 500
        let child = try ChildProcess.spawn(request)
        withExtendedLifetime((reading, unified)) {}
        return child
    }

    private static func devices(_ accelerator: Accelerator) -> [JailSpec.Bind] {
        let names = ["null", "urandom"] + (accelerator == .kvm ? ["kvm"] : [])
        return names.map { JailSpec.Bind("/dev/\($0)", at: "/dev/\($0)", isWritable: true, hasDevices: true) }
    }

    /// KVM's device is for a group of its own.
    private func gid(for accelerator: Accelerator, user: UInt32) throws(SystemError) -> UInt32 {
        guard accelerator == .kvm else { return user }
        var info = stat()
        guard stat("/dev/kvm", &info) == 0 else { throw SystemError("stat", "/dev/kvm", errno: errno) }
        return info.st_gid == 0 ? user : info.st_gid
    }

    private static func processLimits(largestFile: UInt64) -> [JailSpec.Limit] {
        [
            .init(.coreFile, 0), .init(.lockedMemory, 0), .init(.messageQueues, 0), .init(.openFiles, 1024),
            .init(.fileSize, largestFile),
        ]
    }
}
