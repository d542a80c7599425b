import CLinux
import FoundationEssentials
import Glibc
import LinuxSystem
import NIOCore
import NIOPosix
import SandboxModel

/// One jailed Firecracker: no guest at first; whatever its API makes of it then.
package final class FirecrackerProcess: Sendable {
    /// What a process is started with.
    package struct Order: Sendable {
        package var installation: FirecrackerInstallation
        /// Names it in its command line and its root.
        package var id: String
        /// Who it runs as; nobody else is.
        package var user: UInt32
        /// The namespace its cards lead into; nil is a new one, in which there is nothing.
        package var network: Descriptor?
        /// The host's end of its card, by its name there.
        package var tap: String?
        /// What it may use.
        package var limits: ControlGroupLimits
        /// The largest file it may write: memory and disk, whichever has more.
        package var largestFile: UInt64
        /// Digest of the image it is of, for a later daemon to know it by.
        package var image = ""
        /// Files to read: name in its root, and path on the host.
        package var lent: [String: String] = [:]
        /// Files to write, as copies.
        package var given: [String: String] = [:]
        /// Bytes the copies have at least.
        package var givenBytes: UInt64 = 0

        package init(
            installation: FirecrackerInstallation, id: String, user: UInt32, network: Descriptor? = nil,
            limits: ControlGroupLimits, largestFile: UInt64
        ) {
            self.installation = installation
            self.id = id
            self.user = user
            self.network = network
            self.limits = limits
            self.largestFile = largestFile
        }
    }

    package let api: FirecrackerAPI
    /// What the guest writes on its serial port.
    let console: ConsolePipe
    let root: JailRoot
    private let process: ProcessHandle
    private let record: FirecrackerRecord
    private let directory: String
    private let group: ControlGroup

    private init(
        record: FirecrackerRecord, process: ProcessHandle, console: ConsolePipe, directory: String,
        groups: ControlGroupParent, eventLoops: any EventLoopGroup
    ) {
        api = FirecrackerAPI(directory: record.root, socket: JailerArguments.Inside.socket, group: eventLoops)
        root = JailRoot(path: record.root, user: record.user)
        self.console = console
        self.process = process
        self.record = record
        self.directory = directory
        group = ControlGroup(record.id, in: groups)
    }

    package var pid: Int32 { process.pid }

    /// Whether it has ended.
    package var hasEnded: Bool { process.hasEnded }

    /// Where its root is on the host.
    package var rootPath: String { root.path }

    /// The host's end of its card.
    var tap: String? { record.tap }

    /// Who it runs as.
    var user: UInt32 { record.user }

    private static let log = "jailer.log"
    private static let jail = "jail"
    private static let patience = Duration.seconds(10)

    /// Starts a process in a home of its own; returns when its API answers. Nothing is left running if that fails.
    ///
    /// - Parameters:
    ///   - directory: exists, and belongs to this machine.
    ///   - groups: the daemon's, in which it gets a control group.
    /// - Throws: `unavailable` with what jailer and process said.
    package static func start(
        _ order: Order, in directory: String, groups: ControlGroupParent, eventLoops: any EventLoopGroup
    ) async throws -> FirecrackerProcess {
        guard JailerArguments.isID(order.id) else {
            throw MartletError(.internal, "firecracker: '\(order.id)' is no id of a machine")
        }
        let arguments = JailerArguments(
            jailer: order.installation.jailer, program: order.installation.program, id: order.id, user: order.user,
            base: "\(directory)/\(jail)", largestFile: order.largestFile)
        let root = JailRoot(path: arguments.root, user: order.user)
        let group = ControlGroup(order.id, in: groups)
        var process: ProcessHandle?
        do {
            let (handle, console) = try await NIOThreadPool.singleton.runIfActive {
                try prepare(root, order)
                try group.createWithDiskLimitsIfPossible(order.limits)
                return try spawn(arguments, order, directory, group)
            }
            process = handle
            let started = try await NIOThreadPool.singleton.runIfActive {
                let record = FirecrackerRecord(
                    process: handle.identity, user: order.user, id: order.id, image: order.image, root: root.path,
                    tap: order.tap)
                try record.write(in: directory)
                return FirecrackerProcess(
                    record: record, process: handle, console: console, directory: directory, groups: groups,
                    eventLoops: eventLoops)
            }
            try await started.waitForAPI()
            return started
        } catch {
            let said = (try? Descriptor.open("\(directory)/\(log)", O_RDONLY)).map { JailRoot.tail($0) } ?? ""
            let inside = root.tail(of: JailerArguments.Inside.log)
            await end(group, process, in: directory)
            throw explained(error, said + inside)
        }
    }

    /// Takes hold of a process that an earlier daemon left in a directory; nil when there is none that runs.
    ///
    /// - Parameter image: digest of the image it has to be of.
    static func adopt(
        image: String, in directory: String, groups: ControlGroupParent, eventLoops: any EventLoopGroup
    ) throws -> FirecrackerProcess? {
        guard let record = try? FirecrackerRecord.read(in: directory), record.image == image,
            let process = ProcessHandle.reopen(record.process), !process.hasEnded
        else { return nil }
        return FirecrackerProcess(
            record: record, process: process, console: try ConsolePipe(of: process.pid), directory: directory,
            groups: groups, eventLoops: eventLoops)
    }

    private static func prepare(_ root: JailRoot, _ order: Order) throws {
        try root.make()
        try root.give(nil, as: JailerArguments.Inside.log)
        for (name, source) in order.lent { try root.lend(source, as: name) }
        for (name, source) in order.given { try root.give(source, as: name, size: order.givenBytes) }
    }

    private static func spawn(
        _ arguments: JailerArguments, _ order: Order, _ directory: String, _ group: ControlGroup
    ) throws -> (ProcessHandle, ConsolePipe) {
        let log = try Descriptor.open("\(directory)/\(log)", O_WRONLY | O_CREAT | O_TRUNC)
        let (unified, files) = (try group.openUnified(), try group.openVersionOneProcs())
        let (console, end) = try ConsolePipe.make()
        var request = SpawnRequest(
            program: arguments.jailer, arguments: arguments.vector, environment: ["PATH=/usr/bin:/bin"],
            descriptors: [nil, end.number, log.number])
        request.directory = "/"
        request.cgroup = unified?.number
        request.cgroupProcs = files.map(\.number)
        request.networkNamespace = order.network?.number
        // First in a process namespace of its own; the jailer makes one for its mounts itself.
        request.newNamespaces = [.pid, .ipc, .uts]
        if order.network == nil { request.newNamespaces.insert(.network) }
        request.oomScoreAdjustment = 500
        let child = try ChildProcess.spawn(request)
        withExtendedLifetime((log, unified, files, end)) {}
        do {
            return (try ProcessHandle.open(pid: child.pid), console)
        } catch {
            // It has ended already, mostly; and it is our child, so that its pid is not another's yet.
            Glibc.kill(child.pid, SIGKILL)
            waitpid(child.pid, nil, 0)
            throw error
        }
    }

    /// Its socket appears without an event that could be had before the root is there.
    private func waitForAPI() async throws {
        let end = ContinuousClock.now + FirecrackerProcess.patience
        while true {
            do {
                _ = try await api.version()
                return
            } catch let error as MartletError where error.code == .unavailable {
                guard !process.hasEnded else {
                    throw MartletError(.unavailable, "firecracker: it ended before its API answered")
                }
                guard ContinuousClock.now < end else { throw error }
                try await Task.sleep(for: .milliseconds(1))
            }
        }
    }

    private static func explained(_ error: any Error, _ said: String) -> any Error {
        if error is CancellationError { return error }
        let failure = error as? MartletError
        let last = said.split(separator: "\n").last.map { ": \($0.suffix(300))" } ?? ""
        return MartletError(
            failure?.code ?? .unavailable, (failure?.message ?? "firecracker: it did not start: \(error)") + last)
    }

    // MARK: What it leaves

    /// Connects to a port of the guest's, by the socket of its vsock device.
    ///
    /// - Parameter socket: its name in the process's root.
    /// - Throws: `unavailable` when nothing listens there.
    package func connect(socket: String, port: UInt32, timeout: Duration) async throws -> Descriptor {
        let path = root.path
        return try await NIOThreadPool.singleton.runIfActive {
            try GuestPort.connect(directory: path, socket: socket, port: port, timeout: timeout)
        }
    }

    /// Ends the process and moves files it wrote out of its root, read-only from then on.
    ///
    /// - Parameter files: name in its root, and path on the host.
    package func finish(collecting files: [String: String]) async throws {
        process.signal(SIGKILL)
        await ExitWatcher.shared.waitUntilEnded(process)
        let root = root
        let outcome = await Result.of {
            try await NIOThreadPool.singleton.runIfActive {
                for (name, target) in files { try root.collect(name, to: target) }
            }
        }
        await kill()
        try outcome.get()
    }

    /// Returns when the process has ended, or when the task is cancelled.
    package func waitUntilEnded() async { await ExitWatcher.shared.waitUntilEndedOrCancelled(process) }

    /// Ends it, and removes its root and control group. Idempotent, not cancellable.
    package func kill() async {
        await FirecrackerProcess.end(group, process, in: directory)
    }

    /// Host memory only it holds, and its fair share of all it maps, in bytes.
    func memory() async throws -> (private: UInt64, proportional: UInt64) {
        let process = process
        return try await NIOThreadPool.singleton.runIfActive { try process.memory() }
    }

    /// Lets it write files up to a size. Blocks the thread.
    ///
    /// - Throws: `unsupported` for a daemon that may lower limits only.
    func allowFiles(of bytes: UInt64) throws {
        let result = clinux_set_file_limit(process.pid, bytes)
        guard result != -EPERM else {
            throw MartletError(
                .unsupported, "grow disk: the daemon has no CAP_SYS_RESOURCE, which raising a limit on files takes")
        }
        try SystemError.check(result, "limit files of", "process \(process.pid)")
    }

    /// The name of the machine in a directory: of its control group, and in its command line.
    static func id(of directory: String) -> String {
        let name = directory.split(separator: "/").last.map(String.init) ?? ""
        return JailerArguments.isID(name) ? name : ControlGroupParent.name(for: directory)
    }

    /// Ends whatever an earlier daemon left in a directory. Idempotent.
    package static func reclaim(_ directory: String, groups: ControlGroupParent) async {
        // A daemon killed between starting a process and writing it down leaves no record, but a control group.
        let record = try? FirecrackerRecord.read(in: directory)
        let process = record.flatMap { ProcessHandle.reopen($0.process) }
        await end(ControlGroup(record?.id ?? id(of: directory), in: groups), process, in: directory)
    }

    private static func end(_ group: ControlGroup, _ process: ProcessHandle?, in directory: String) async {
        if let process {
            process.signal(SIGKILL)
            await ExitWatcher.shared.waitUntilEnded(process)
        }
        await withCheckedContinuation { continuation in
            NIOThreadPool.singleton.submit { _ in
                if group.exists {
                    group.kill()
                    group.remove()
                }
                try? FileManager.default.removeItem(atPath: "\(directory)/\(jail)")
                unlink("\(directory)/\(FirecrackerRecord.fileName)")
                unlink("\(directory)/\(log)")
                continuation.resume()
            }
        }
    }
}

extension Result where Failure == any Error {
    fileprivate static func of(_ work: () async throws -> Success) async -> Result {
        do { return .success(try await work()) } catch { return .failure(error) }
    }
}
