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

/// Sandboxes as Firecracker microVMs, by KVM and by nothing else.
///
/// A capture has all of a machine's disk, and a machine has a copy of it; memory is shared copy-on-write by all that stand
/// on the same base.
package actor FirecrackerEngine: SandboxEngine {
    /// What the operator and the installation set.
    package struct Configuration: Sendable {
        /// Where the engine keeps what it makes for itself; one daemon's own.
        package var directory: String
        /// Names the control groups; this daemon's own, and the same whenever it is started.
        package var groups: String
        /// Where Firecracker and its jailer are looked for before the PATH.
        package var folders: [String]
        /// False: never KVM, and so never a machine.
        package var allowsKVM: Bool
        /// Memory a machine may hold beyond its guest's, in MiB: Firecracker itself, and page cache of its files.
        package var memoryOverheadMiB = 192
        /// Bytes a second a machine may read from the disk, and write to it; nil is no limit.
        package var ioBytesPerSecond: UInt64? = 512 << 20
        /// How long the agent of a guest that was restored may take to answer, and of one that boots.
        package var patience = (restore: Duration.seconds(30), boot: Duration.seconds(60))

        package init(directory: String, groups: String, folders: [String] = [], allowsKVM: Bool = true) {
            self.directory = directory
            self.groups = groups
            self.folders = folders
            self.allowsKVM = allowsKVM
        }
    }

    /// Raise it when captures are made in another way, so that old ones are not used any more.
    private static let procedure = "1"
    /// Users of machines on the host: above those of containers, which are above those of QEMU.
    private static let firstUser: UInt32 = 0xa000_0000
    private static let userCount: UInt32 = 0x1000_0000
    /// Threads a Firecracker has beside its processors'.
    private static let spareTasks = 32
    /// What to do where it cannot be used.
    private static let advice =
        "choose isolation 'microvm', which is emulated where KVM does not work, or 'gvisor', which needs none"

    package nonisolated let name = "firecracker"
    package nonisolated let capabilities = Set(EngineCapability.allCases)
    package nonisolated let bakesTemplates = true
    package nonisolated let holdsPrograms = true
    package nonisolated let attachment = NetworkAttachment.tap
    package nonisolated let channel = GuestChannel.vsock
    package nonisolated let diskFormat = DiskFormat.whole
    private let configuration: Configuration
    private let logger: Logger
    private let group: any EventLoopGroup
    private var installation: FirecrackerInstallation?
    /// What the host says before any probe.
    private var candidate: HostAccelerator.Candidate?
    private var verdict: HostAccelerator.Verdict?
    private var timeStampKilohertz: UInt64?
    private let kernels: KernelCache
    private let users = UserNumbers(first: FirecrackerEngine.firstUser, count: FirecrackerEngine.userCount)

    package init(configuration: Configuration, logger: Logger, group: any EventLoopGroup) {
        self.configuration = configuration
        self.logger = logger
        self.group = group
        kernels = KernelCache(directory: configuration.directory)
    }

    // MARK: What there is

    private func found() async throws -> FirecrackerInstallation {
        if let installation { return installation }
        let found = try await FirecrackerInstallation.find(folders: configuration.folders)
        installation = found
        return found
    }

    /// - Throws: `unsupported` with the reason why there can be no machine on this host, `failed_precondition` with what is
    ///   not installed.
    private func usable() async throws -> FirecrackerInstallation {
        func cannot(_ why: String) -> MartletError {
            MartletError(.unsupported, "\(why): \(FirecrackerEngine.advice)", details: ["field": "isolation"])
        }
        guard geteuid() == 0 else { throw cannot("only root can jail it, and this is user \(geteuid())") }
        guard configuration.allowsKVM else { throw cannot("KVM is switched off by configuration") }
        let candidate = candidate ?? HostAccelerator.onThisHost()
        self.candidate = candidate
        if case .none(let reason) = candidate { throw cannot(reason) }
        let found = try await found()
        if verdict == nil { verdict = HostAccelerator.remembered(in: verdictPath, monitor: found.version) }
        if let verdict, !verdict.works { throw cannot(verdict.reason) }
        return found
    }

    private var verdictPath: String { "\(configuration.directory)/kvm-verdict.json" }

    package func inspect() async -> EngineReport {
        do {
            let version = try await usable().version
            return EngineReport(
                name: name, isAvailable: true, version: version, isolation: currentIsolation,
                reason: verdict?.reason ?? "KVM looks usable; the first boot will prove it")
        } catch {
            return EngineReport(
                name: name, isAvailable: false, version: try? await found().version, isolation: nil,
                reason: (error as? MartletError)?.message ?? "\(error)")
        }
    }

    private var currentIsolation: Isolation { Isolation(engine: name, accelerator: "kvm", level: .hardwareVM) }

    package func isolation() async -> Isolation { currentIsolation }

    /// Boots the image once and remembers whether its agent answered.
    private func probe(_ image: BootImage) async throws {
        let found = try await usable()
        guard verdict == nil else { return }
        mkdir(configuration.directory, 0o700)
        let directory = "\(configuration.directory)/probe-\(RandomID.make(prefix: "p"))"
        mkdir(directory, 0o700)
        defer { try? FileManager.default.removeItem(atPath: directory) }
        var bare = image
        (bare.warmup, bare.services) = ([], [])
        do {
            try await bake(bare, into: directory, network: nil, bootTimeout: .seconds(20)) { _ in }
            verdict = .init(monitor: found.version, works: true, reason: "a probe boot by KVM reached the agent")
        } catch let error as MartletError where [.timeout, .unavailable].contains(error.code) {
            verdict = .init(
                monitor: found.version, works: false, reason: "a probe boot by KVM failed (\(error.message))")
        }
        if let verdict {
            try HostAccelerator.remember(verdict, in: verdictPath)
            logger.info(
                "probed KVM by firecracker", metadata: ["works": "\(verdict.works)", "reason": "\(verdict.reason)"])
        }
        _ = try await usable()
    }

    /// Firecracker promises to load what the same version has captured on the same processor and kernel, no more.
    private func version() async throws -> String {
        let kernel = HostKernel.release.split(separator: ".").prefix(2).joined(separator: ".")
        let processor = HostAccelerator.processorLine("model name").filter { $0 != "\t" }
        return "\(try await found().version) on Linux \(kernel),\(processor)"
    }

    package func identity(for image: BootImage, hasNetworkCard: Bool) async throws -> EngineIdentity {
        try await probe(image)
        let layout = MachineLayout(shape: image.shape, hasNetworkCard: hasNetworkCard)
        let parts = [
            FirecrackerEngine.procedure, layout.description, layout.kernelCommandLine, "\(image.warmup)",
        ]
        return EngineIdentity(
            engine: "\(name)-kvm", version: try await version(), machine: FirecrackerEngine.digest(parts))
    }

    package func compatibility(of shape: MachineShape, hasNetworkCard: Bool) async throws -> MachineCompatibility {
        let layout = MachineLayout(shape: shape, hasNetworkCard: hasNetworkCard)
        return MachineCompatibility(
            engine: "\(name)-kvm", version: try await version(),
            machine: FirecrackerEngine.digest([layout.description]),
            processorFeatures: HostAccelerator.processorLine("flags").split(separator: " ").map(String.init).sorted(),
            timeStampKilohertz: try await timeStampRate())
    }

    private func timeStampRate() async throws -> UInt64 {
        if let timeStampKilohertz { return timeStampKilohertz }
        let rate = try await NIOThreadPool.singleton.runIfActive { clinux_tsc_khz() }
        timeStampKilohertz = rate
        return rate
    }

    private static func digest(_ parts: [String]) -> String {
        SHA256.hash(data: Data(parts.joined(separator: "\u{0}").utf8))
            .map { byte in (byte < 16 ? "0" : "") + String(byte, radix: 16) }.joined()
    }

    // MARK: Machines

    package func bake(
        _ image: BootImage, into directory: String, network: MachineNetwork?,
        progress: @escaping @Sendable (String) -> Void
    ) async throws {
        try await bake(
            image, into: directory, network: network, bootTimeout: configuration.patience.boot, progress: progress)
    }

    private func bake(
        _ image: BootImage, into directory: String, network: MachineNetwork?, bootTimeout: Duration,
        progress: @escaping @Sendable (String) -> Void
    ) async throws {
        progress("booting \(image.kernel.split(separator: "/").last ?? "")")
        guard let size = FirecrackerEngine.size(of: image.rootDisk) else {
            throw MartletError(.failedPrecondition, "boot: \(image.rootDisk) is not there: build the template again")
        }
        let machine = try await boot(
            image,
            from: MachineImage(
                digest: "boot", memory: "", baseDisks: [image.rootDisk], shape: image.shape, deviceState: "",
                diskBytes: size, hasNetworkCard: network != nil),
            in: directory, network: network, timeout: bootTimeout)
        do {
            try await image.prepare(machine.guest, bootTimeout: bootTimeout, progress: progress)
            try await machine.finish(into: directory)
        } catch {
            await machine.kill()
            throw error
        }
    }

    private static func size(of path: String) -> UInt64? {
        var info = stat()
        return stat(path, &info) == 0 ? UInt64(info.st_size) : nil
    }

    package func startShell(
        _ image: MachineImage, in directory: String, network: MachineNetwork?
    ) async throws -> any Machine {
        try await start(image, in: directory, network: network, lending: [MachineLayout.File.memory: image.memory])
    }

    package func boot(
        _ boot: BootImage, from image: MachineImage, in directory: String, network: MachineNetwork?
    ) async throws -> any Machine {
        try await self.boot(
            boot, from: image, in: directory, network: network, timeout: configuration.patience.boot)
    }

    private func boot(
        _ boot: BootImage, from image: MachineImage, in directory: String, network: MachineNetwork?, timeout: Duration
    ) async throws -> FirecrackerMachine {
        let machine = try await started(boot, from: image, in: directory, network: network)
        do {
            try await machine.connectGuest(timeout: timeout)
            return machine
        } catch {
            let console = (try? await machine.consoleLog()) ?? []
            await machine.kill()
            throw FirecrackerEngine.explained(error, console)
        }
    }

    /// A machine whose guest has begun to boot, and is not connected to yet.
    func started(
        _ boot: BootImage, from image: MachineImage, in directory: String, network: MachineNetwork?
    ) async throws -> FirecrackerMachine {
        let kernel = try await kernels.kernel(of: boot.kernel)
        let machine = try await start(
            image, in: directory, network: network,
            lending: [MachineLayout.File.kernel: kernel, MachineLayout.File.initramfs: boot.initramfs])
        do {
            try await machine.layout.boot(machine.process.api, tap: machine.process.tap)
            return machine
        } catch {
            await machine.kill()
            throw error
        }
    }

    /// Adds the end of the guest's console, which is where a failed boot tells why.
    private static func explained(_ error: any Error, _ console: [UInt8]) -> any Error {
        guard var failure = error as? MartletError, !console.isEmpty else { return error }
        let tail = String(decoding: console.suffix(600).filter { $0 == 10 || (32..<127).contains($0) }, as: UTF8.self)
        failure.details["console"] = tail
        failure.message += "; its console ended with: \(tail.split(separator: "\n").last ?? "")"
        return failure
    }

    /// Starts a process with a copy of the image's disk; it is no machine yet.
    private func start(
        _ image: MachineImage, in directory: String, network: MachineNetwork?, lending files: [String: String]
    ) async throws -> FirecrackerMachine {
        guard image.hasNetworkCard == (network != nil) else {
            throw MartletError(.internal, "firecracker: a network card and a network for it go together")
        }
        guard let disk = (image.baseDisks + image.layers).last else {
            throw MartletError(.internal, "firecracker: an image without a disk")
        }
        let installation = try await found()
        var order = FirecrackerProcess.Order(
            installation: installation, id: FirecrackerProcess.id(of: directory), user: users.take(),
            network: network?.namespace, limits: limits(of: image.shape, directory),
            largestFile: max(image.diskBytes, UInt64(image.shape.memoryMiB) << 20))
        order.image = image.digest
        order.lent = files
        order.given = [MachineLayout.File.disk: disk]
        order.givenBytes = image.diskBytes
        if let network {
            order.tap = network.tapName
            // Firecracker opens it by its name, and one at a time can have it.
            network.tap?.close()
        }
        do {
            let process = try await FirecrackerProcess.start(
                order, in: directory, groups: try groups(), eventLoops: group)
            do {
                return try await FirecrackerMachine(
                    process: process, image: image, disk: disk, surroundings: surroundings)
            } catch {
                await process.kill()
                throw error
            }
        } catch {
            users.giveBack(order.user)
            throw error
        }
    }

    private func limits(of shape: MachineShape, _ directory: String) -> ControlGroupLimits {
        ControlGroupLimits(
            memoryBytes: UInt64(shape.memoryMiB + configuration.memoryOverheadMiB) << 20,
            // Half a processor for what Firecracker does beside the guest's.
            cpus: Double(shape.cpus) + 0.5, tasks: shape.cpus + FirecrackerEngine.spareTasks,
            ioBytesPerSecond: configuration.ioBytesPerSecond, disk: directory)
    }

    private var surroundings: FirecrackerMachine.Surroundings {
        let users = users
        return .init(group: group, logger: logger, patience: configuration.patience.restore) { users.giveBack($0) }
    }

    private func groups() throws -> ControlGroupParent {
        do {
            return try ControlGroupParent.make(configuration.groups)
        } catch {
            throw MartletError(.failedPrecondition, "firecracker: it cannot be jailed: control groups: \(error)")
        }
    }

    package func writeDisk(of image: MachineImage, to path: String) async throws {
        guard let disk = (image.baseDisks + image.layers).last else {
            throw MartletError(.internal, "firecracker: an image without a disk")
        }
        try await NIOThreadPool.singleton.runIfActive { try SparseFile.copy(disk, to: path).close() }
    }

    // MARK: What an earlier daemon has left

    package func adopt(_ image: MachineImage, in directory: String) async throws -> (any Machine)? {
        guard
            let process = try FirecrackerProcess.adopt(
                image: image.digest, in: directory, groups: try groups(), eventLoops: group)
        else { return nil }
        users.keep(process.user)
        let machine = try await FirecrackerMachine(
            process: process, image: image, disk: nil, surroundings: surroundings)
        do {
            // It may have been captured when the daemon ended.
            try await machine.process.api.resume()
            try await machine.connectGuest(timeout: .seconds(10))
            return machine
        } catch {
            machine.guest.close()
            users.giveBack(process.user)
            throw error
        }
    }

    package func reclaim(_ directory: String) async {
        guard let groups = try? ControlGroupParent.make(configuration.groups, requiring: []) else { return }
        await FirecrackerProcess.reclaim(directory, groups: groups)
        groups.remove()
    }

    package func reclaimOthers(than directories: Set<String>) async {
        guard let groups = try? ControlGroupParent.make(configuration.groups, requiring: []) else { return }
        let kept = Set(directories.map(FirecrackerProcess.id))
        _ = try? await NIOThreadPool.singleton.runIfActive { groups.endGroups(otherThan: kept) }
    }
}
