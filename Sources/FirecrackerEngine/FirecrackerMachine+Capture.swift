import Glibc
import LinuxSystem
import NIOPosix
import SandboxEngine
import SandboxModel
import Synchronization

extension FirecrackerMachine {
    /// More than any honest device state; one of a machine like ours has some 20 KiB.
    private static let maxStateBytes = 16 << 20

    func capture(into directory: String, resumes: Bool) async throws -> MachineCapture {
        let (process, layout) = (process, layout)
        var image = state.withLock { $0.image }
        let disk = "\(directory)/layer-0.\(DiskFormat.whole.rawValue)"
        var watch = Stopwatch()
        do {
            try await pause()
            watch.lap("stop")
            // Nothing changes while the guest stands still, so that both go on at the same time.
            async let copied: Void = NIOThreadPool.singleton.runIfActive {
                try SparseFile.copy(from: process.root.open(MachineLayout.File.disk), to: disk).close()
            }
            try await snapshot()
            try await copied
            watch.lap("state")
            if resumes { try await resume() }
            watch.lap("continue")
            try await NIOThreadPool.singleton.runIfActive { [image] in
                try FirecrackerMachine.collect(process.root, layout.shape, base: image.memory, into: directory)
            }
        } catch {
            try? await resume()
            throw error
        }
        image.pages = "\(directory)/pages"
        image.deviceState = "\(directory)/device-state"
        image.layers = [disk]
        return MachineCapture(image: image, phases: watch.phases)
    }

    /// Has the process write down its memory and devices.
    private func snapshot() async throws {
        let root = process.root
        try await NIOThreadPool.singleton.runIfActive { try FirecrackerMachine.clear(root) }
        // From the very attempt on: the guest is told to forget its connections before anything is written.
        state.withLock { $0.isCutOff = true }
        try await process.api.createSnapshot(
            .init(state: "/\(MachineLayout.File.capturedState)", memory: "/\(MachineLayout.File.capturedMemory)"))
    }

    private static func clear(_ root: JailRoot) throws {
        try root.remove(MachineLayout.File.capturedState)
        try root.remove(MachineLayout.File.capturedMemory)
    }

    /// Copies what the process has captured, for it may still have its files open and write to them later; of the memory
    /// only what is not the base's. Blocks the thread.
    private static func collect(
        _ root: JailRoot, _ shape: MachineShape, base: String, into directory: String
    ) throws {
        defer { try? clear(root) }
        let memory = try root.open(MachineLayout.File.capturedMemory)
        guard lseek(memory.number, 0, SEEK_END) == shape.memoryMiB << 20 else {
            throw MartletError(.internal, "firecracker: capture: its memory has another size than the machine")
        }
        try PageFile.write(memory, over: base, to: "\(directory)/pages")
        let state = try root.open(MachineLayout.File.capturedState).readAll(limit: maxStateBytes + 1)
        guard state.count <= maxStateBytes else {
            throw MartletError(.internal, "firecracker: capture: its device state has more than \(maxStateBytes) bytes")
        }
        try Descriptor.open("\(directory)/device-state", O_WRONLY | O_CREAT | O_EXCL).writeAll(state)
    }

    /// Captures the machine whole, to be what others stand on, and ends it.
    ///
    /// - Parameter directory: where `memory`, `device-state` and `disk.raw` are then.
    func finish(into directory: String) async throws {
        try await pause()
        try await snapshot()
        try await process.finish(collecting: [
            MachineLayout.File.capturedMemory: "\(directory)/memory",
            MachineLayout.File.capturedState: "\(directory)/device-state",
            MachineLayout.File.disk: "\(directory)/disk.\(DiskFormat.whole.rawValue)",
        ])
        await kill()
    }
}
