import GuestClient
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

    package init(kernel: String, initramfs: String, rootDisk: String, shape: MachineShape, warmup: [[String]]) {
        self.kernel = kernel
        self.initramfs = initramfs
        self.rootDisk = rootDisk
        self.shape = shape
        self.warmup = warmup
    }
}

/// A captured machine: what every create, resume and fork starts from. None of its files is ever written again.
package struct MachineImage: Sendable, Hashable {
    /// Names the capture; equal digests are equal captures.
    package var digest: String
    package var memory: String
    package var deviceState: String
    package var disk: String
    package var shape: MachineShape

    package init(digest: String, memory: String, deviceState: String, disk: String, shape: MachineShape) {
        self.digest = digest
        self.memory = memory
        self.deviceState = deviceState
        self.disk = disk
        self.shape = shape
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

    /// What is found on this host; cheap after the first call.
    func inspect() async -> EngineReport

    /// What a capture of this image by this engine is bound to. The first call may boot the image to find out which
    /// accelerator works.
    func identity(for image: BootImage) async throws -> EngineIdentity

    /// How strong the wall of this engine is on this host.
    func isolation() async -> Isolation

    /// Boots the image, warms it up and captures it into `directory` (files `memory`, `device-state`, `disk.qcow2`).
    ///
    /// Nothing is left running, whatever happens. Cancellation kills the machine.
    func bake(_ image: BootImage, into directory: String, progress: @escaping @Sendable (String) -> Void) async throws

    /// Starts a shell: a process that holds the image but is not a machine yet.
    ///
    /// - Parameter directory: exists, is empty, and belongs to this machine.
    func startShell(_ image: MachineImage, in directory: String) async throws -> any Machine

    /// Takes over a machine that an earlier daemon left in `directory`; nil when its process is gone.
    func adopt(_ image: MachineImage, in directory: String) async throws -> (any Machine)?

    /// Kills whatever an earlier daemon left in `directory`. Idempotent.
    func reclaim(_ directory: String) async
}

/// A machine, or the shell of one.
package protocol Machine: Sendable {
    /// The connection to its guest; requests are answered once the guest runs.
    var guest: GuestConnection { get }

    /// Loads the captured state and lets it run: a shell becomes a machine.
    func restore() async throws

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
