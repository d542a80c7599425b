import Glibc
import LinuxSystem
import Logging
import NIOCore
import NIOPosix
import SandboxEngine
import SandboxModel

/// Starts QEMU processes: the one place where an emulator is spawned.
struct QEMULauncher: Sendable {
    var installation: QEMUInstallation
    var surroundings: QEMUMachine.Surroundings

    /// Starts a process in its directory and connects to it; the process is gone again if that fails.
    ///
    /// - Parameter image: what the machine is or will be of.
    func launch(
        _ arguments: QEMUArguments, in directory: String, image: MachineImage, network: MachineNetwork?,
        timeout: Duration = .seconds(20)
    ) async throws -> QEMUMachine {
        guard arguments.hasNetworkCard == (network != nil) else {
            throw MartletError(.internal, "qemu: a network card and a network for it go together")
        }
        let program = installation.program(for: arguments.accelerator)
        let process = try await NIOThreadPool.singleton.runIfActive {
            try QEMULauncher.spawn(program, arguments, in: directory, image: image.digest, network: network)
        }
        do {
            return try await QEMUMachine.connect(
                process: process, directory: directory, image: image, takeover: false, timeout: timeout,
                surroundings: surroundings)
        } catch {
            process.signal(SIGKILL)
            await ExitWatcher.shared.waitUntilEnded(process)
            let said = (try? AtomicFile.read("\(directory)/qemu.log", limit: 4096)) ?? []
            let text = String(decoding: said, as: UTF8.self).split(separator: "\n").last.map(String.init)
            throw MartletError(
                QEMULauncher.code(of: error, said: text), "qemu: it did not start: \(text ?? "\(error)")")
        }
    }

    private static func code(of error: any Error, said: String?) -> MartletError.Code {
        if said?.contains("No space left") == true { return .resourceExhausted }
        if said?.contains("Cannot allocate memory") == true { return .resourceExhausted }
        return (error as? MartletError)?.code ?? .unavailable
    }

    private static func spawn(
        _ program: String, _ arguments: QEMUArguments, in directory: String, image: String,
        network: MachineNetwork?
    ) throws -> ProcessHandle {
        let folder = try Descriptor.openDirectory(directory)
        let monitor = try UnixSocket.listen(in: folder, name: QEMUMachine.File.monitor)
        let guest = try UnixSocket.listen(in: folder, name: QEMUMachine.File.guest)
        let log = try Descriptor.open("\(directory)/qemu.log", O_WRONLY | O_CREAT | O_APPEND)
        // Empty as yet: what is restored is written there, and read when the machine is told to load it.
        let statePath = "\(directory)/\(QEMUMachine.File.deviceState)"
        try Descriptor.open(statePath, O_WRONLY | O_CREAT).close()
        let state = try Descriptor.open(statePath, O_RDONLY)
        var request = SpawnRequest(
            program: program, arguments: [program] + arguments.build(), environment: ["PATH=/usr/bin:/bin", "LANG=C"])
        request.descriptors = [nil, log.number, log.number, monitor.number, guest.number, state.number]
        if let network {
            request.descriptors.append(network.tap.number)
            request.networkNamespace = network.namespace.number
        }
        request.directory = directory
        request.noNewPrivileges = true
        let child = try ChildProcess.spawn(request)
        withExtendedLifetime((monitor, guest, log, state, network)) {}
        let process = try ProcessHandle.open(pid: child.pid)
        try MachineRecord(engine: QEMUEngine.engineName, process: process.identity, image: image).write(in: directory)
        return process
    }
}
