import CLinux
import Glibc
import GuestClient
import LinuxSystem
import NIOPosix
import SandboxEngine
import SandboxModel

/// A running container; what it cannot be asked is answered by its engine's capabilities before it comes to this.
final class ContainerMachine: Machine {
    let guest: GuestConnection
    private let process: ProcessHandle
    private let group: ControlGroup
    private let console: Descriptor
    private let image: MachineImage
    private let directory: String
    /// nil where it cannot be captured.
    private let capturing: (any ContainerCapture)?
    /// Sees that programs are not short of memory for long; nil where what runs the container does.
    private let memoryGuard: Task<Void, Never>?
    private let ended: @Sendable () async -> Void

    /// What of the console is kept in view.
    private static let consoleBytes: UInt64 = 65_536

    init(
        process: ProcessHandle, group: ControlGroup, guest: GuestConnection, console: Descriptor,
        image: MachineImage, directory: String, capturing: (any ContainerCapture)?, memoryGuard: MemoryGuard?,
        ended: @escaping @Sendable () async -> Void
    ) {
        self.process = process
        self.group = group
        self.guest = guest
        self.console = console
        self.image = image
        self.directory = directory
        self.capturing = capturing
        self.memoryGuard = memoryGuard.map { guarding in Task { await guarding.run() } }
        self.ended = ended
    }

    deinit { memoryGuard?.cancel() }

    var pid: Int32 { process.pid }

    /// It has run since it was started: there is nothing to be loaded.
    func restore(_ image: MachineImage) async throws { try await resume() }

    func capture(into target: String, resumes: Bool) async throws -> MachineCapture {
        guard let capturing else {
            throw MartletError(.unsupported, "capture: a container's memory cannot be captured")
        }
        // In a task of its own: one that is called off must not leave it halted.
        return try await Task { try await capture(into: target, resumes: resumes, by: capturing) }.value
    }

    private func capture(
        into target: String, resumes: Bool, by capturing: any ContainerCapture
    ) async throws -> MachineCapture {
        var watch = Stopwatch()
        do {
            // Written down first: a later daemon lets it go on if this one ends in between.
            try Descriptor.open(haltMark, O_WRONLY | O_CREAT).close()
            try await capturing.halt()
            watch.lap("stop")
            let (state, memory) = try await capturing.save(into: target)
            watch.lap("state")
            let disk = "\(target)/\(ContainerMachine.diskName)"
            try await copyDisk(to: disk)
            watch.lap("disk")
            if resumes { try await proceed(capturing) }
            watch.lap("continue")
            var captured = image
            captured.deviceState = state
            captured.pages = memory
            captured.layers = [disk]
            return MachineCapture(image: captured, phases: watch.phases)
        } catch {
            try? await proceed(capturing)
            throw error
        }
    }

    /// What a copy of the sandbox's own disk is called in a capture.
    private static let diskName = "disk.ext4"
    /// There while it is halted for a capture.
    private var haltMark: String { "\(directory)/halted" }

    private func proceed(_ capturing: any ContainerCapture) async throws {
        try await capturing.proceed()
        unlink(haltMark)
    }

    /// Copies what the halted sandbox has written, and the agent it runs.
    private func copyDisk(to target: String) async throws {
        let (process, directory) = (process, directory)
        try await NIOThreadPool.singleton.runIfActive {
            // Its mounts are seen from its monitor only.
            let mounted = try Descriptor.openDirectory("/proc/\(process.pid)/root\(ContainerScene.upper)")
            try SystemError.check(clinux_syncfs(mounted.number), "syncfs", directory)
            _ = try SparseFile.copy(ContainerScene.disk(in: directory), to: target)
            let folder = String(target.dropLast(ContainerMachine.diskName.utf8.count + 1))
            try KeptAgent.link(KeptAgent.path(in: directory), into: folder)
        }
    }

    func mergeLayers() async throws {}

    func growDisk(toMiB size: Int) async throws {
        throw MartletError(.unsupported, "grow disk: a container's disk keeps the size it was started with")
    }

    func pause() async throws { try await withGroup { try $0.freeze() } }

    func resume() async throws {
        try await withGroup { try $0.thaw() }
        if let capturing, access(haltMark, F_OK) == 0 { try await proceed(capturing) }
    }

    private func withGroup(_ work: @escaping @Sendable (ControlGroup) throws -> Void) async throws {
        let group = group
        try await NIOThreadPool.singleton.runIfActive { try work(group) }
    }

    func consoleLog() async throws -> [UInt8] {
        let console = console
        return try await NIOThreadPool.singleton.runIfActive {
            var info = stat()
            guard fstat(console.number, &info) == 0 else { throw SystemError("stat", "console", errno: errno) }
            let size = UInt64(max(0, info.st_size))
            let kept = min(size, ContainerMachine.consoleBytes)
            return try console.read(upTo: Int(kept), at: size - kept)
        }
    }

    func memory() async throws -> (private: UInt64, proportional: UInt64) {
        let group = group
        return await withCheckedContinuation { continuation in
            NIOThreadPool.singleton.submit { _ in
                let used = group.usage().memoryBytes ?? 0
                continuation.resume(returning: (used, used))
            }
        }
    }

    func waitUntilEnded() async { await ExitWatcher.shared.waitUntilEndedOrCancelled(process) }

    func kill() async {
        memoryGuard?.cancel()
        guest.close()
        await ContainerHost.end(group, process)
        await ended()
    }
}
