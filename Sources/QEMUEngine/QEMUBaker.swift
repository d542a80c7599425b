import Glibc
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

    /// Captures into `directory`: files `memory`, `device-state` and `disk.qcow2`. Nothing is left running.
    func bake(
        _ image: BootImage, with accelerator: Accelerator, into directory: String, network: MachineNetwork?,
        bootTimeout: Duration, progress: @escaping @Sendable (String) -> Void
    ) async throws {
        progress("booting \(image.kernel.split(separator: "/").last ?? "")")
        let machine = try await boot(image, with: accelerator, in: directory, network)
        do {
            try await image.prepare(machine.guest, bootTimeout: bootTimeout, progress: progress)
            try await machine.pause()
            try await machine.saveDeviceState(to: "\(directory)/device-state")
            try await machine.quit()
        } catch {
            await machine.kill()
            throw explained(error, directory)
        }
        for name in ["memory", "disk.qcow2"] { try machine.files.takeBack(name) }
        for name in [MachineRecord.fileName, "qemu.log", QEMUMachine.File.monitor, QEMUMachine.File.guest] {
            unlink("\(directory)/\(name)")
        }
        chmod(directory, 0o700)
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
