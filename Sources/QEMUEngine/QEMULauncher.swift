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
        let jail = surroundings.jail
        let files = MachineFiles(directory: directory, owner: jail?.users.take())
        let (process, memory) = try await NIOThreadPool.singleton.runIfActive {
            try spawn(program, arguments, files, image: image, network: network)
        }
        do {
            async let limited: Void = NIOThreadPool.singleton.runIfActive {
                try jail?.limit(process.pid, in: directory)
            }
            let machine = try await QEMUMachine.connect(
                process: process, files: files, image: image, memory: memory, takeover: false, timeout: timeout,
                surroundings: surroundings)
            // No guest runs before that.
            try await limited
            return machine
        } catch {
            process.signal(SIGKILL)
            await ExitWatcher.shared.waitUntilEnded(process)
            _ = try? await NIOThreadPool.singleton.runIfActive { jail?.clear(directory, user: files.owner) }
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

    private func spawn(
        _ program: String, _ given: QEMUArguments, _ files: MachineFiles, image: MachineImage,
        network: MachineNetwork?
    ) throws -> (ProcessHandle, ProcessMemory.File?) {
        let directory = files.directory
        var arguments = given
        // A daemon that is killed before it has written the process down finds it by this name.
        arguments.name = QEMULauncher.processName(of: directory)
        let folder = try Descriptor.openDirectory(directory)
        let monitor = try UnixSocket.listen(in: folder, name: QEMUMachine.File.monitor)
        let guest = try UnixSocket.listen(in: folder, name: QEMUMachine.File.guest)
        let log = try Descriptor.open("\(directory)/qemu.log", O_WRONLY | O_CREAT | O_APPEND)
        // Empty as yet: what is restored is written there, and read when the machine is told to load it.
        let statePath = "\(directory)/\(QEMUMachine.File.deviceState)"
        try Descriptor.open(statePath, O_WRONLY | O_CREAT).close()
        let state = try Descriptor.open(statePath, O_RDONLY)
        var descriptors: [Int32?] = [nil, log.number, log.number, monitor.number, guest.number, state.number]
        if let network { descriptors.append(network.tap?.number) }
        let child: ChildProcess
        if let jail = surroundings.jail, let user = files.owner {
            try QEMULauncher.handOver(arguments, files)
            child = try jail.spawn(
                program, arguments, files: files, user: user, descriptors: descriptors, network: network?.namespace,
                largestFile: QEMULauncher.largestFile(image))
        } else {
            var request = SpawnRequest(
                program: program, arguments: [program] + arguments.build(),
                environment: ["PATH=/usr/bin:/bin", "LANG=C"], descriptors: descriptors)
            request.networkNamespace = network?.namespace.number
            request.directory = directory
            request.noNewPrivileges = true
            child = try ChildProcess.spawn(request)
        }
        withExtendedLifetime((monitor, guest, log, state, network)) {}
        let process = try ProcessHandle.open(pid: child.pid)
        // One that makes its memory's file itself is no sandbox's, and is not captured in this way.
        let memory = try? ProcessMemory.File(path: arguments.memory)
        try MachineRecord(
            engine: QEMUEngine.engineName, process: process.identity, image: image.digest, user: files.owner,
            memory: memory
        ).write(in: directory)
        return (process, memory)
    }

    /// How the process of the machine in a directory is called.
    static func processName(of directory: String) -> String {
        "martlet-\(directory.split(separator: "/").last ?? "")"
    }

    /// Gives the process what it writes to, and lets it pass through the directory, but see or change nothing of it.
    private static func handOver(_ arguments: QEMUArguments, _ files: MachineFiles) throws(SystemError) {
        guard chmod(files.directory, 0o711) == 0 else { throw SystemError("chmod", files.directory, errno: errno) }
        var names: [String] = ["disk.qcow2"]
        if arguments.memoryAccess == .shared {
            // It would make the file itself, could it make files.
            let memory = try Descriptor.open(files.path("memory"), O_RDWR | O_CREAT)
            guard ftruncate(memory.number, arguments.shape.memoryMiB << 20) == 0 else {
                throw SystemError("truncate", files.path("memory"), errno: errno)
            }
            names.append("memory")
        }
        if arguments.consoleFile != nil {
            try files.make("console.log")
            names.append("console.log")
        }
        for name in names { try files.give(name) }
    }

    /// No file a machine writes grows beyond its whole disk, with what qcow2 adds, or its memory.
    private static func largestFile(_ image: MachineImage) -> UInt64 {
        // A disk may be made larger later; no sandbox's is larger than this (see `disk_mb`).
        max(image.diskBytes + image.diskBytes / 8 + 64 << 20, UInt64(image.shape.memoryMiB) << 20)
    }
}
