import GuestClient
import LinuxSystem
import SandboxModel

/// What a machine boots from before its capture exists.
package struct BootImage: Sendable {
    package var kernel: String
    package var initramfs: String
    /// A raw disk image, never written.
    package var rootDisk: String
    package var shape: MachineShape
    /// Argument lists run in the guest, one after another, before the capture.
    package var warmup: [[String]]
    /// Programs started before those, and captured running.
    package var services: [TemplateService]
    /// `NAME=value` pairs services are started with beside their own.
    package var environment: [String]

    package init(
        kernel: String, initramfs: String, rootDisk: String, shape: MachineShape, warmup: [[String]] = [],
        services: [TemplateService] = [], environment: [String] = []
    ) {
        self.kernel = kernel
        self.initramfs = initramfs
        self.rootDisk = rootDisk
        self.shape = shape
        self.warmup = warmup
        self.services = services
        self.environment = environment
    }
}

/// How the host reaches the guest of a machine: what a machine boots from has to be made for it.
package enum GuestChannel: Sendable {
    /// By a virtio port, or a socket the guest shares with the host.
    case port
    /// By vsock, at `martlet.vsock` of the kernel's command line.
    case vsock
}

/// How an engine keeps what its captures have of a disk.
package enum DiskFormat: String, Sendable {
    /// What was written, in layers over what is shared.
    case layers = "qcow2"
    /// All of it, in one file with holes. The last of a machine's disks is then the whole disk.
    case whole = "raw"
}

/// How a machine is joined to its network.
package enum NetworkAttachment: Sendable {
    /// By a tap, which its process holds.
    case tap
    /// By a link into a namespace of its own.
    case link
}

/// Where a machine's network card leads: a network of its own, which is somebody else's to make and to rule.
package struct MachineNetwork: Sendable {
    /// The network namespace its process is to live in.
    package var namespace: Descriptor
    /// The host's end of the card, in that namespace, and its name there; there for engines that attach by a tap.
    package var tap: Descriptor?
    package var tapName: String
    /// Puts the card `eth0`, with the guest's address, into another namespace: that of an engine that attaches by a link.
    package var join: @Sendable (Descriptor) async throws -> Void

    package init(
        namespace: Descriptor, tap: Descriptor? = nil, tapName: String = "",
        join: @escaping @Sendable (Descriptor) async throws -> Void = { _ in }
    ) {
        self.namespace = namespace
        self.tap = tap
        self.tapName = tapName
        self.join = join
    }
}

/// A captured machine: what every create, resume and fork starts from. None of its files is ever written again.
///
/// It stands on a base: a memory image and disks that many machines share. What was written since then - `pages` of
/// memory, `layers` of the disk - is the capture's own; a template's capture has none of either.
package struct MachineImage: Sendable, Hashable, Codable {
    /// Names the base; shells of images with equal digests are interchangeable.
    package var digest: String
    /// The base's memory image; empty where a capture has all of its memory itself.
    package var memory: String
    /// What the disk stands on: a raw image, then what the engine's `diskFormat` says.
    package var baseDisks: [String]
    package var shape: MachineShape
    package var deviceState: String
    /// The pages written over `memory` (see `PageFile`), or all there are; nil when there are none.
    package var pages: String?
    /// What was captured of the disk over `baseDisks`, the oldest first: as the engine's `diskFormat` says.
    package var layers: [String]
    /// The disk's size as the guest sees it, in bytes.
    package var diskBytes: UInt64
    /// Whether the host's half of the guest protocol was between two frames at the capture.
    package var isBetweenFrames: Bool
    /// nil in what was written before there were any.
    private var networkCard: Bool?

    /// Whether the machine has a network card: whoever starts it gives it a network then, and none otherwise.
    package var hasNetworkCard: Bool {
        get { networkCard ?? false }
        set { networkCard = newValue }
    }

    /// Whether there is memory to go on with, rather than only a disk to begin from.
    package var isCaptured: Bool { !deviceState.isEmpty }

    package init(
        digest: String, memory: String, baseDisks: [String], shape: MachineShape, deviceState: String,
        diskBytes: UInt64, pages: String? = nil, layers: [String] = [], isBetweenFrames: Bool = true,
        hasNetworkCard: Bool = false
    ) {
        self.digest = digest
        self.memory = memory
        self.baseDisks = baseDisks
        self.shape = shape
        self.deviceState = deviceState
        self.diskBytes = diskBytes
        self.pages = pages
        self.layers = layers
        self.isBetweenFrames = isBetweenFrames
        networkCard = hasNetworkCard
    }
}

/// A capture that was just made.
package struct MachineCapture: Sendable {
    package var image: MachineImage
    /// Milliseconds: `stop`, `state` (devices, memory and disk, side by side), `continue`.
    package var phases: [String: Double]

    package init(image: MachineImage, phases: [String: Double]) {
        self.image = image
        self.phases = phases
    }
}

/// What an engine is on this host.
package struct EngineReport: Sendable {
    package var name: String
    package var isAvailable: Bool
    package var version: String?
    package var isolation: Isolation?
    /// Why this accelerator, or what is missing and how to mend it.
    package var reason: String

    package init(name: String, isAvailable: Bool, version: String?, isolation: Isolation?, reason: String) {
        self.name = name
        self.isAvailable = isAvailable
        self.version = version
        self.isolation = isolation
        self.reason = reason
    }
}

/// What of an engine and host decides whether a capture can be restored.
package struct EngineIdentity: Sendable, Hashable {
    /// For example `qemu-tcg`.
    package var engine: String
    package var version: String
    /// Digest of every argument that shapes the virtual machine.
    package var machine: String

    package init(engine: String, version: String, machine: String) {
        self.engine = engine
        self.version = version
        self.machine = machine
    }
}

/// One way to isolate a sandbox. An engine knows how; what for and when is the node's business.
package protocol SandboxEngine: Sendable {
    /// The name clients use, such as `qemu`.
    var name: String { get }

    /// What its machines can do beyond running programs.
    var capabilities: Set<EngineCapability> { get }

    /// Whether templates are captured once, and each create is a restore. Otherwise nothing is baked: a shell is a machine
    /// that was started and whose agent has answered, and `restore` lets it go on.
    var bakesTemplates: Bool { get }

    /// Whether a guest stops its programs for a capture, and lets them go on with the thaw. Otherwise they go on with the
    /// restore: for the moment until the thaw under the name, and with the environment, of what was captured.
    var holdsPrograms: Bool { get }

    /// How its machines are joined to their networks.
    var attachment: NetworkAttachment { get }

    /// How the agents of its machines are reached.
    var channel: GuestChannel { get }

    /// How its captures keep disks.
    var diskFormat: DiskFormat { get }

    /// What is found on this host; cheap after the first call.
    func inspect() async -> EngineReport

    /// What a capture of this image by this engine is bound to. The first call may boot the image to find out which
    /// accelerator works.
    func identity(for image: BootImage, hasNetworkCard: Bool) async throws -> EngineIdentity

    /// What a machine of this shape, captured here, needs of a host; and so what this host offers.
    func compatibility(of shape: MachineShape, hasNetworkCard: Bool) async throws -> MachineCompatibility

    /// How strong the wall of this engine is on this host.
    func isolation() async -> Isolation

    /// Boots the image, warms it up and captures it into `directory` (files `memory`, `device-state`, and `disk.` with the
    /// format's name).
    ///
    /// Nothing is left running, whatever happens. Cancellation kills the machine.
    ///
    /// - Parameter network: gives the machine a network card, which all that is restored from the capture then has.
    func bake(
        _ image: BootImage, into directory: String, network: MachineNetwork?,
        progress: @escaping @Sendable (String) -> Void
    ) async throws

    /// Starts a shell: a process that holds the image's base but is not a machine yet. Its disk has the image's size, and
    /// keeps it where the engine has no captures.
    ///
    /// - Parameters:
    ///   - directory: exists, is empty, and belongs to this machine.
    ///   - network: there if the image has a network card, and only then; let go of once the process has it.
    func startShell(
        _ image: MachineImage, in directory: String, network: MachineNetwork?
    ) async throws -> any Machine

    /// Boots a machine from an image's disk, with nothing of its memory; returns when its agent answers.
    ///
    /// - Parameters:
    ///   - boot: the kernel and initramfs of its template.
    ///   - image: `memory` is a file of zeros, and `digest` names it.
    ///   - directory: exists, is empty, and belongs to this machine.
    ///   - network: as for `startShell`.
    func boot(
        _ boot: BootImage, from image: MachineImage, in directory: String, network: MachineNetwork?
    ) async throws -> any Machine

    /// Writes the disk of a captured machine, with all it stands on, as one raw image with holes. Nothing is flushed.
    ///
    /// - Parameter path: of a file that is not there yet.
    func writeDisk(of image: MachineImage, to path: String) async throws

    /// Takes over a machine that an earlier daemon left in `directory`; nil when its process is gone.
    func adopt(_ image: MachineImage, in directory: String) async throws -> (any Machine)?

    /// Kills whatever an earlier daemon left in `directory`. Idempotent.
    func reclaim(_ directory: String) async

    /// Kills whatever earlier daemons left that lives in none of these directories, such as what was being baked. Once,
    /// before anything is started.
    func reclaimOthers(than directories: Set<String>) async
}

extension SandboxEngine {
    package var channel: GuestChannel { .port }

    package var diskFormat: DiskFormat { .layers }
}

/// A machine, or the shell of one.
package protocol Machine: Sendable {
    /// The host process that is the machine, and lives in its network namespace.
    var pid: Int32 { get }

    /// The connection to its guest; requests are answered once the guest runs.
    var guest: GuestConnection { get }

    /// Makes the shell the machine that was captured, and lets it run.
    ///
    /// - Parameter image: of the shell's own base and disk size.
    /// - Throws: `failed_precondition` when a file of the image is damaged. The shell is of no use after a failure.
    func restore(_ image: MachineImage) async throws

    /// Captures memory, devices and disk of one instant into `directory`, which then has all files that are not the
    /// base's. Nothing is flushed to the storage. A machine that cannot be captured goes on as it was.
    ///
    /// - Parameter resumes: whether the machine runs again afterwards; else it stays as it is, to be killed.
    func capture(into directory: String, resumes: Bool) async throws -> MachineCapture

    /// Merges thin layers of the disk that captures have left, if there are many; the guest runs on. A capture in
    /// between cuts it short.
    func mergeLayers() async throws

    /// Makes the disk larger and tells the guest, which must be running.
    func growDisk(toMiB size: Int) async throws

    /// Stops the virtual CPUs. Idempotent.
    func pause() async throws

    /// Lets the virtual CPUs run again. Idempotent.
    func resume() async throws

    /// What the guest's kernel and agent wrote last on the console, bounded.
    func consoleLog() async throws -> [UInt8]

    /// Host memory only this machine holds, and its fair share of all it maps, in bytes.
    func memory() async throws -> (private: UInt64, proportional: UInt64)

    /// Returns when the process has ended, whoever ended it, or when the task is cancelled.
    func waitUntilEnded() async

    /// Ends the process and waits until it is gone. Idempotent, not cancellable.
    func kill() async
}
