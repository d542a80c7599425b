import CLinux
import Crypto
import FoundationEssentials
import Glibc
import GuestClient
import LinuxSystem
import Logging
import NIOCore
import NIOPosix
import SandboxEngine
import SandboxModel

/// Sandboxes as QEMU microVMs, by KVM where a probe boot proves that it works, else emulated.
package actor QEMUEngine: SandboxEngine {
    static let engineName = "qemu"

    /// What the operator may set.
    package struct Configuration: Sendable {
        /// Where the engine keeps what it makes for itself; one daemon's own.
        package var directory: String
        /// MiB of host memory for translated code of an emulated guest, at most. With half of it a second run of
        /// Python has to be translated all over again; idle guests take none of the difference.
        package var translationBufferMiB: Int
        /// False: never KVM.
        package var allowsKVM: Bool
        /// How processes are jailed; nil: not at all.
        package var jail: QEMUJail.Configuration?

        package init(
            directory: String, translationBufferMiB: Int = 64, allowsKVM: Bool = true, jail: QEMUJail.Configuration?
        ) {
            self.directory = directory
            self.jail = jail
            self.translationBufferMiB = translationBufferMiB
            self.allowsKVM = allowsKVM
        }
    }

    package nonisolated let name = QEMUEngine.engineName
    package nonisolated let capabilities = Set(EngineCapability.allCases)
    package nonisolated let bakesTemplates = true
    package nonisolated let holdsPrograms = true
    package nonisolated let attachment = NetworkAttachment.tap
    private let configuration: Configuration
    private let logger: Logger
    private let group: any EventLoopGroup
    private let overlays: OverlayTemplates
    private var installation: QEMUInstallation?
    private var accelerator: (kind: Accelerator, reason: String)?
    private var tscKilohertz: UInt64?
    /// One jail for all machines; made with the first of them.
    private let jail: JailKeeper

    package init(configuration: Configuration, logger: Logger, group: any EventLoopGroup) {
        self.configuration = configuration
        self.logger = logger
        self.group = group
        overlays = OverlayTemplates(directory: "\(configuration.directory)/overlays")
        jail = JailKeeper(configuration: configuration.jail, directory: configuration.directory)
    }

    private func found() async throws -> QEMUInstallation {
        if let installation { return installation }
        let found = try await QEMUInstallation.find()
        installation = found
        return found
    }

    private func launcher() async throws -> QEMULauncher {
        QEMULauncher(installation: try await found(), surroundings: try await surroundings())
    }

    private func surroundings() async throws -> QEMUMachine.Surroundings {
        let program = try await found().program(for: await decided()?.kind ?? .kvm)
        return QEMUMachine.Surroundings(
            overlays: overlays, jail: try await jail.jail(for: program), group: group, logger: logger)
    }

    // MARK: What there is

    package func inspect() async -> EngineReport {
        do {
            let version = try await found().version
            let (kind, reason) = await decided() ?? (.kvm, "KVM looks usable; the first boot will prove it")
            return EngineReport(
                name: name, isAvailable: true, version: version, isolation: isolation(for: kind), reason: reason)
        } catch {
            let why = (error as? MartletError)?.message ?? "\(error)"
            return EngineReport(name: name, isAvailable: false, version: nil, isolation: nil, reason: why)
        }
    }

    package func isolation() async -> Isolation { isolation(for: await decided()?.kind ?? .kvm) }

    private func isolation(for accelerator: Accelerator) -> Isolation {
        Isolation(
            engine: name, accelerator: accelerator.rawValue, level: accelerator == .kvm ? .hardwareVM : .emulatedVM)
    }

    /// The accelerator, if it is known without a probe boot.
    private func decided() async -> (kind: Accelerator, reason: String)? {
        if let accelerator { return accelerator }
        guard configuration.allowsKVM else {
            accelerator = (.tcg, "KVM is switched off by configuration; emulating")
            return accelerator
        }
        switch HostAccelerator.onThisHost() {
        case .none(let reason):
            accelerator = (.tcg, "\(reason); emulating instead")
        case .kvmToBeProbed:
            guard let version = try? await found().version,
                let verdict = HostAccelerator.remembered(in: verdictPath, monitor: version)
            else { return nil }
            accelerator = (verdict.works ? .kvm : .tcg, verdict.reason)
        }
        return accelerator
    }

    private var verdictPath: String { "\(configuration.directory)/kvm-verdict.json" }

    /// Boots the image by KVM once and remembers whether its agent answered.
    private func probe(_ image: BootImage) async throws -> Accelerator {
        let installation = try await found()
        let directory = "\(configuration.directory)/probe-\(getpid())"
        mkdir(directory, 0o700)
        defer { removeTree(directory) }
        var verdict = HostAccelerator.Verdict(
            monitor: installation.version, works: true, reason: "a probe boot by KVM reached the agent")
        do {
            var bare = image
            bare.warmup = []
            bare.services = []
            try await baker().bake(
                bare, with: .kvm, into: directory, network: nil, bootTimeout: .seconds(20)
            ) { _ in }
        } catch is CancellationError {
            throw CancellationError()
        } catch {
            verdict.works = false
            verdict.reason =
                "a probe boot by KVM failed (\((error as? MartletError)?.message ?? "\(error)")); emulating instead"
        }
        try HostAccelerator.remember(verdict, in: verdictPath)
        logger.info("probed KVM", metadata: ["works": "\(verdict.works)", "reason": "\(verdict.reason)"])
        accelerator = (verdict.works ? .kvm : .tcg, verdict.reason)
        return verdict.works ? .kvm : .tcg
    }

    package func identity(for image: BootImage, hasNetworkCard: Bool) async throws -> EngineIdentity {
        var kind = await decided()?.kind
        if kind == nil { kind = try await probe(image) }
        let accelerator = kind ?? .tcg
        let machine = QEMUArguments.machine(accelerator, image.shape, hasNetworkCard: hasNetworkCard)
            .joined(separator: "\u{0}")
        let commandLine = QEMUArguments.kernelCommandLine(
            accelerator, tscKilohertz: 0, hasNetworkCard: hasNetworkCard)
        let digest = SHA256.hash(
            data: Data("\(QEMUBaker.procedure)\u{0}\(machine)\u{0}\(commandLine)\u{0}\(image.warmup)".utf8))
        return EngineIdentity(
            engine: "\(name)-\(accelerator.rawValue)", version: try await found().version,
            machine: QEMUEngine.hexadecimal(digest))
    }

    package func compatibility(
        of shape: MachineShape, hasNetworkCard: Bool
    ) async throws -> MachineCompatibility {
        let accelerator = await decided()?.kind ?? .tcg
        let machine = QEMUArguments.machine(accelerator, shape, hasNetworkCard: hasNetworkCard)
            .joined(separator: "\u{0}")
        let features = accelerator == .kvm ? HostAccelerator.processorLine("flags").split(separator: " ") : []
        return MachineCompatibility(
            engine: "\(name)-\(accelerator.rawValue)", version: try await found().version,
            machine: QEMUEngine.hexadecimal(SHA256.hash(data: Data(machine.utf8))),
            processorFeatures: features.map(String.init).sorted(), timeStampKilohertz: try await timeStampRate())
    }

    private static func hexadecimal(_ digest: SHA256.Digest) -> String {
        digest.map { byte in (byte < 16 ? "0" : "") + String(byte, radix: 16) }.joined()
    }

    // MARK: Machines

    private func baker() async throws -> QEMUBaker {
        QEMUBaker(
            launcher: try await launcher(), translationBufferMiB: configuration.translationBufferMiB,
            tscKilohertz: try await timeStampRate())
    }

    private func timeStampRate() async throws -> UInt64 {
        if let tscKilohertz { return tscKilohertz }
        let rate = try await NIOThreadPool.singleton.runIfActive { clinux_tsc_khz() }
        tscKilohertz = rate
        return rate
    }

    package func bake(
        _ image: BootImage, into directory: String, network: MachineNetwork?,
        progress: @escaping @Sendable (String) -> Void
    ) async throws {
        let kind = await decided()?.kind ?? .tcg
        try await baker().bake(
            image, with: kind, into: directory, network: network, bootTimeout: .seconds(120), progress: progress)
    }

    package func startShell(
        _ image: MachineImage, in directory: String, network: MachineNetwork?
    ) async throws -> any Machine {
        try await start(image, in: directory, network: network, role: .restore)
    }

    private func start(
        _ image: MachineImage, in directory: String, network: MachineNetwork?, role: QEMUArguments.Role
    ) async throws -> QEMUMachine {
        let empty = try await overlays.path(bytes: image.diskBytes)
        let disk = "\(directory)/disk.qcow2"
        try await NIOThreadPool.singleton.runIfActive { try copySmallFile(empty, to: disk) }
        var arguments = QEMUArguments(
            accelerator: await decided()?.kind ?? .tcg, shape: image.shape, memory: image.memory,
            memoryAccess: .copyOnWrite, disk: disk, baseDisks: image.baseDisks, role: role,
            translationBufferMiB: configuration.translationBufferMiB, consoleFile: nil)
        arguments.startsStopped = true
        arguments.hasNetworkCard = image.hasNetworkCard
        return try await launcher().launch(arguments, in: directory, image: image, network: network)
    }

    package func boot(
        _ boot: BootImage, from image: MachineImage, in directory: String, network: MachineNetwork?
    ) async throws -> any Machine {
        let accelerator = await decided()?.kind ?? .tcg
        let commandLine = QEMUArguments.kernelCommandLine(
            accelerator, tscKilohertz: try await timeStampRate(), hasNetworkCard: network != nil)
        let machine = try await start(
            image, in: directory, network: network,
            role: .boot(kernel: boot.kernel, initramfs: boot.initramfs, commandLine: commandLine))
        do {
            try await machine.attach(image.layers)
            try await machine.resume()
            _ = try await machine.guest.ping(timeout: .seconds(120))
            return machine
        } catch {
            await machine.kill()
            throw error
        }
    }

    package func writeDisk(of image: MachineImage, to path: String) async throws {
        let program = try await found().diskTool
        let conversion = DiskConversion(program: program, jail: try await jail.jail(for: program))
        try await conversion.flatten(image.baseDisks + image.layers, bytes: image.diskBytes, to: path)
    }

    package func adopt(_ image: MachineImage, in directory: String) async throws -> (any Machine)? {
        guard let record = try? MachineRecord.read(in: directory), record.image == image.digest,
            let process = ProcessHandle.reopen(record.process), !process.hasEnded
        else { return nil }
        // One that is jailed goes on in its jail, and one that is not without, whatever is wanted of new ones.
        var surroundings = try await surroundings()
        if let user = record.user { surroundings.jail?.users.keep(user) } else { surroundings.jail = nil }
        return try await QEMUMachine.connect(
            process: process, files: MachineFiles(directory: directory, owner: record.user), image: image,
            memory: record.memory, takeover: true, timeout: .seconds(10), surroundings: surroundings)
    }

    package func reclaim(_ directory: String) async {
        var handles: [ProcessHandle] = []
        let record = try? MachineRecord.read(in: directory)
        if let record, let process = ProcessHandle.reopen(record.process) { handles.append(process) }
        // A daemon killed between starting the process and writing it down leaves no record, but the process's own
        // command line has the name of the directory.
        handles += await ProcessScan.processes(withArgumentContaining: QEMULauncher.processName(of: directory))
        for process in handles {
            process.signal(SIGKILL)
            await ExitWatcher.shared.waitUntilEnded(process)
        }
        await jail.reclaim(directory, user: record?.user)
    }

    package func reclaimOthers(than directories: Set<String>) async { await jail.reclaimOthers(than: directories) }
}

/// Removes a directory of plain files.
func removeTree(_ directory: String) {
    try? FileManager.default.removeItem(atPath: directory)
}
