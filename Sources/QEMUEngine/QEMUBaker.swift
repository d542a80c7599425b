import Glibc
import GuestClient
import GuestProtocol
import LinuxSystem
import Logging
import SandboxEngine
import SandboxModel

/// Boots an image once, warms it up and captures it.
struct QEMUBaker: Sendable {
    var launcher: QEMULauncher
    var translationBufferMiB: Int
    var tscKilohertz: UInt64

    /// Counted up when captures are made in another way, so that old ones are not used any more.
    static let procedure = 4

    /// How long the guest is left alone before it is captured. Its kernel puts work off (grace periods, write-back,
    /// timers) and tells nobody when it is done; what is still due at the capture is done again by every sandbox, on
    /// the way of its create.
    private static let settling: Duration = .seconds(2)

    /// Captures into `directory`: files `memory`, `device-state` and `disk.qcow2`. Nothing is left running.
    func bake(
        _ image: BootImage, with accelerator: Accelerator, into directory: String, network: MachineNetwork?,
        bootTimeout: Duration, progress: @escaping @Sendable (String) -> Void
    ) async throws {
        progress("booting \(image.kernel.split(separator: "/").last ?? "")")
        let machine = try await boot(image, with: accelerator, in: directory, network)
        do {
            let hello = try await machine.guest.ping(timeout: bootTimeout)
            progress("booted Linux \(hello.kernel) in \(hello.uptimeMilliseconds) ms of its own time")
            try await machine.guest.startServices(
                image.services, environment: image.environment, progress: progress)
            for command in image.warmup { try await warm(machine.guest, command, progress) }
            try await rehearse(machine.guest)
            progress("capturing memory and devices")
            try await quiet(machine.guest, image)
            try await Task.sleep(for: QEMUBaker.settling)
            try await machine.pause()
            try await machine.saveDeviceState(to: "\(directory)/device-state")
            try await machine.quit()
        } catch {
            await machine.kill()
            throw explained(error, directory)
        }
        for name in [MachineRecord.fileName, "qemu.log", QEMUMachine.File.monitor, QEMUMachine.File.guest] {
            unlink("\(directory)/\(name)")
        }
    }

    /// Brings the disk up to date. Services are held first, and captured so: none runs in a sandbox before it is thawed.
    private func quiet(_ guest: GuestConnection, _ image: BootImage) async throws {
        guard !image.services.isEmpty else { return try await guest.freeze() }
        let held = try await guest.hold(timeout: .seconds(10), flush: true)
        guard held.frozen, held.flushed else {
            throw MartletError(
                .failedPrecondition, "capture: the services could not be stopped and brought to the disk for it")
        }
    }

    private func boot(
        _ image: BootImage, with accelerator: Accelerator, in directory: String, _ network: MachineNetwork?
    ) async throws -> QEMUMachine {
        let disk = "\(directory)/disk.qcow2"
        guard access(image.rootDisk, R_OK) == 0 else {
            throw MartletError(.failedPrecondition, "boot: \(image.rootDisk) is not there: build the template again")
        }
        var info = stat()
        guard stat(image.rootDisk, &info) == 0 else { throw SystemError("stat", image.rootDisk, errno: errno) }
        let bytes = UInt64(info.st_size)
        try await createEmptyLayer(at: disk, bytes: bytes)
        let memory = "\(directory)/memory"
        var arguments = QEMUArguments(
            accelerator: accelerator, shape: image.shape, memory: memory, memoryAccess: .shared, disk: disk,
            baseDisks: [image.rootDisk],
            role: .boot(
                kernel: image.kernel, initramfs: image.initramfs,
                commandLine: QEMUArguments.kernelCommandLine(
                    accelerator, tscKilohertz: tscKilohertz, hasNetworkCard: network != nil)),
            translationBufferMiB: max(translationBufferMiB, 64), consoleFile: "\(directory)/console.log")
        arguments.hasNetworkCard = network != nil
        return try await launcher.launch(
            arguments, in: directory,
            image: MachineImage(
                digest: "boot", memory: memory, baseDisks: [image.rootDisk], shape: image.shape,
                deviceState: "\(directory)/device-state", diskBytes: bytes, hasNetworkCard: network != nil),
            network: network)
    }

    /// A thaw like the one every sandbox gets, so that what it reads is in the captured memory already; its host name is
    /// as long as a sandbox's id, so that files keep their length.
    private func rehearse(_ guest: GuestConnection) async throws {
        try await guest.thaw(
            Thaw(
                wallClockNanoseconds: Clocks.realtimeNanoseconds,
                entropy: (0..<64).map { _ in UInt8.random(in: .min ... .max) }, hostname: "template-of-martlet-",
                machineID: String(repeating: "0", count: 32)))
    }

    private func warm(
        _ guest: GuestConnection, _ command: [String], _ progress: @Sendable (String) -> Void
    ) async throws {
        progress("warming up: \(command.joined(separator: " ").prefix(60))")
        let outcome = try await guest.exec(
            StartProcess(arguments: command, timeoutMilliseconds: 120_000), outputLimit: 65_536)
        guard outcome.exit.code == 0 else {
            throw MartletError(
                .failedPrecondition,
                "warm up: \(command.joined(separator: " ")): it ended with \(outcome.exit.code): "
                    + String(decoding: outcome.standardError.suffix(300), as: UTF8.self))
        }
    }

    /// Adds the end of the guest's console, which is where a failed boot tells why.
    private func explained(_ error: any Error, _ directory: String) -> any Error {
        guard var failure = error as? MartletError, let log = try? AtomicFile.read("\(directory)/console.log"),
            !log.isEmpty
        else { return error }
        let tail = String(decoding: log.suffix(600).filter { $0 == 10 || (32..<127).contains($0) }, as: UTF8.self)
        failure.details["console"] = tail
        failure.message += "; its console ended with: \(tail.split(separator: "\n").last ?? "")"
        return failure
    }
}
