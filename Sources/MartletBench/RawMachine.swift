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
    /// `disk`: making the overlay; `boot`: from the start of QEMU to the agent's first answer.
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
    static func with<Result: Sendable>(
        _ recipe: Recipe, in directory: String, _ body: (RawMachine) async throws -> Result
    ) async throws -> Result {
        var watch = Stopwatch()
        let disk = "\(directory)/disk.qcow2"
        unlink(disk)
        _ = try await ProgramRun.milliseconds(
            recipe.diskTool, ["create", "-q", "-f", "qcow2", "-b", recipe.image.rootDisk, "-F", "raw", disk],
            log: "\(directory)/qemu-img.log")
        watch.lap("disk")
        let process = try await Blocking.run { try start(recipe, disk: disk, in: directory) }
        do {
            let guest = try await connect(in: directory)
            _ = try await guest.ping(timeout: bootTimeout)
            watch.lap("boot")
            let result = try await body(RawMachine(process: process, guest: guest, phases: watch.phases))
            await end(process)
            return result
        } catch {
            await end(process)
            throw error
        }
    }

    private static func end(_ process: ProcessHandle) async {
        process.signal(SIGKILL)
        await ExitWatcher.shared.waitUntilEnded(process)
    }

    private static func start(_ recipe: Recipe, disk: String, in directory: String) throws -> ProcessHandle {
        let folder = try Descriptor.openDirectory(directory)
        let monitor = try UnixSocket.listen(in: folder, name: "monitor")
        let guest = try UnixSocket.listen(in: folder, name: "guest")
        let log = try Descriptor.open("\(directory)/qemu.log", O_WRONLY | O_CREAT | O_TRUNC)
        let memory = try memoryFile(directory)
        let shape = try MachineShape(
            cpus: recipe.image.definition.cpus, memoryMiB: recipe.image.definition.memoryMiB)
        let arguments = QEMUArguments(
            accelerator: recipe.accelerator, shape: shape,
            memory: "/proc/self/fd/\(QEMUArguments.ChildDescriptor.deviceState)", memoryAccess: .shared, disk: disk,
            baseDisks: [recipe.image.rootDisk],
            role: .boot(
                kernel: recipe.image.kernel, initramfs: recipe.image.initramfs,
                commandLine: QEMUArguments.kernelCommandLine(
                    recipe.accelerator, tscKilohertz: recipe.tscKilohertz)),
            translationBufferMiB: translationBufferMiB, consoleFile: nil)
        var request = SpawnRequest(
            program: recipe.emulator, arguments: [recipe.emulator] + arguments.build(),
            environment: ["PATH=/usr/bin:/bin", "LANG=C"])
        request.descriptors = [nil, log.number, log.number, monitor.number, guest.number, memory.number]
        request.directory = directory
        let child = try ChildProcess.spawn(request)
        withExtendedLifetime((monitor, guest, log, memory)) {}
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

    private static func connect(in directory: String) async throws -> GuestConnection {
        let socket = try UnixSocket.connect(in: try Descriptor.openDirectory(directory), name: "guest")
        return try await GuestConnection.start(
            descriptor: socket.release(), takeover: false, group: MultiThreadedEventLoopGroup.singleton,
            logger: Logger(label: "bench"))
    }

    /// The processor's clock rate, which an emulated kernel cannot find out on a busy host.
    static func measureClockRate() async throws -> UInt64 { try await Blocking.run { clinux_tsc_khz() } }
}
