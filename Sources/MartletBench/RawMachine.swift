import CLinux
import Glibc
import GuestClient
import ImageStore
import LinuxSystem
import Logging
import NIOPosix
import QEMUEngine
import SandboxModel

/// A template booted by plain QEMU: same kernel, same initramfs, same root disk, no daemon and no capture.
struct RawMachine: Sendable {
    let process: ProcessHandle
    let guest: GuestConnection
    let directory: String
    /// `disk`: making the overlay; `boot`: from the start of QEMU to the agent's first answer. Of a restored one
    /// `start`, `load` and `answer` instead of `boot`.
    let phases: [String: Double]

    var milliseconds: Double { phases.values.reduce(0, +) }

    /// How to boot it.
    struct Recipe: Sendable {
        var image: TemplateImage
        var accelerator: Accelerator
        var emulator: String
        var diskTool: String
        var tscKilohertz: UInt64
    }

    private static let bootTimeout: Duration = .seconds(120)
    /// What QEMU gives an emulated guest of this size by itself is of this order.
    private static let translationBufferMiB = 64

    /// Boots a machine in `directory`, hands it to `body`, and kills it however `body` ends.
    ///
    /// - Parameter tap: the host's end of a network card; nil gives it none.
    static func with<Result: Sendable>(
        _ recipe: Recipe, in directory: String, tap: Descriptor? = nil, _ body: (RawMachine) async throws -> Result
    ) async throws -> Result {
        var watch = Stopwatch()
        try await makeDisk(recipe, on: recipe.image.rootDisk, "raw", in: directory)
        watch.lap("disk")
        let process = try await Blocking.run {
            try start(recipe, layers: [], restores: false, tap: tap, in: directory)
        }
        return try await ending(process) {
            let guest = try await connect(in: directory, takeover: false)
            _ = try await guest.ping(timeout: bootTimeout)
            watch.lap("boot")
            return try await body(
                RawMachine(process: process, guest: guest, directory: directory, phases: watch.phases))
        }
    }

    /// Starts a machine in `directory` that goes on from what another one's migration wrote, hands it to `body`, and
    /// kills it however `body` ends.
    ///
    /// - Parameter layers: what was written to the disk up to then, above the template's root; at least one.
    static func restored<Result: Sendable>(
        _ recipe: Recipe, from state: String, layers: [String], in directory: String,
        _ body: (RawMachine) async throws -> Result
    ) async throws -> Result {
        var watch = Stopwatch()
        try await makeDisk(recipe, on: layers[layers.count - 1], "qcow2", in: directory)
        watch.lap("disk")
        let process = try await Blocking.run {
            try start(recipe, layers: layers, restores: true, tap: nil, in: directory)
        }
        return try await ending(process) {
            let monitor = try await monitor(in: directory)
            defer { monitor.close() }
            watch.lap("start")
            try await monitor.execute("migrate-incoming", "{\"uri\":\(jsonString("file:" + state))}")
            try await Migration.waitUntilDone(monitor)
            // It was stopped when it was stored, and is so still.
            try await monitor.execute("cont")
            watch.lap("load")
            let guest = try await connect(in: directory, takeover: true)
            _ = try await guest.ping(timeout: bootTimeout)
            watch.lap("answer")
            return try await body(
                RawMachine(process: process, guest: guest, directory: directory, phases: watch.phases))
        }
    }

    /// A connection to QEMU itself.
    func monitor() async throws -> QMPConnection { try await RawMachine.monitor(in: directory) }

    private static func monitor(in directory: String) async throws -> QMPConnection {
        let socket = try UnixSocket.connect(in: try Descriptor.openDirectory(directory), name: "monitor")
        return try await QMPConnection.start(
            descriptor: socket.release(), group: MultiThreadedEventLoopGroup.singleton, timeout: bootTimeout)
    }

    private static func diskFile(_ directory: String) -> String { "\(directory)/disk.qcow2" }

    private static func makeDisk(
        _ recipe: Recipe, on base: String, _ format: String, in directory: String
    ) async throws {
        unlink(diskFile(directory))
        _ = try await ProgramRun.milliseconds(
            recipe.diskTool, ["create", "-q", "-f", "qcow2", "-b", base, "-F", format, diskFile(directory)],
            log: "\(directory)/qemu-img.log")
    }

    private static func ending<Result: Sendable>(
        _ process: ProcessHandle, _ body: () async throws -> Result
    ) async throws -> Result {
        let result: Result
        do {
            result = try await body()
        } catch {
            await end(process)
            throw error
        }
        await end(process)
        return result
    }

    private static func end(_ process: ProcessHandle) async {
        process.signal(SIGKILL)
        await ExitWatcher.shared.waitUntilEnded(process)
    }

    private static func start(
        _ recipe: Recipe, layers: [String], restores: Bool, tap: Descriptor?, in directory: String
    ) throws -> ProcessHandle {
        let folder = try Descriptor.openDirectory(directory)
        let monitor = try UnixSocket.listen(in: folder, name: "monitor")
        let guest = try UnixSocket.listen(in: folder, name: "guest")
        let log = try Descriptor.open("\(directory)/qemu.log", O_WRONLY | O_CREAT | O_TRUNC)
        let memory = try memoryFile(directory)
        let shape = try MachineShape(
            cpus: recipe.image.definition.cpus, memoryMiB: recipe.image.definition.memoryMiB)
        var arguments = QEMUArguments(
            accelerator: recipe.accelerator, shape: shape,
            memory: "/proc/self/fd/\(QEMUArguments.ChildDescriptor.deviceState)", memoryAccess: .shared,
            disk: diskFile(directory), baseDisks: [recipe.image.rootDisk] + layers,
            role: .boot(
                kernel: recipe.image.kernel, initramfs: recipe.image.initramfs,
                commandLine: QEMUArguments.kernelCommandLine(
                    recipe.accelerator, tscKilohertz: recipe.tscKilohertz, hasNetworkCard: tap != nil)),
            translationBufferMiB: translationBufferMiB, consoleFile: nil)
        arguments.hasNetworkCard = tap != nil
        var request = SpawnRequest(
            program: recipe.emulator,
            arguments: [recipe.emulator] + arguments.build() + (restores ? ["-incoming", "defer"] : []),
            environment: ["PATH=/usr/bin:/bin", "LANG=C"])
        request.descriptors = [nil, log.number, log.number, monitor.number, guest.number, memory.number]
        if let tap { request.descriptors.append(tap.number) }
        request.directory = directory
        let child = try ChildProcess.spawn(request)
        withExtendedLifetime((monitor, guest, log, memory, tap)) {}
        return try ProcessHandle.open(pid: child.pid)
    }

    /// The guest's memory: a nameless file in memory where there is such a place, so that no disk is written to and
    /// nothing is left behind.
    private static func memoryFile(_ directory: String) throws -> Descriptor {
        let place = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : directory
        let path = "\(place)/martlet-bench-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        let memory = try Descriptor.open(path, O_RDWR | O_CREAT | O_EXCL)
        unlink(path)
        return memory
    }

    private static func connect(in directory: String, takeover: Bool) async throws -> GuestConnection {
        let socket = try UnixSocket.connect(in: try Descriptor.openDirectory(directory), name: "guest")
        return try await GuestConnection.start(
            descriptor: socket.release(), takeover: takeover, group: MultiThreadedEventLoopGroup.singleton,
            logger: Logger(label: "bench"))
    }

    /// The processor's clock rate, which an emulated kernel cannot find out on a busy host.
    static func measureClockRate() async throws -> UInt64 { try await Blocking.run { clinux_tsc_khz() } }
}
