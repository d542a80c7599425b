import Glibc
import LinuxSystem
import NIOPosix
import SandboxEngine
import SandboxModel
import Synchronization

extension QEMUMachine {
    func restore(_ image: MachineImage) async throws {
        let base = state.withLock { $0.image }
        guard base.digest == image.digest, base.diskBytes == image.diskBytes else {
            throw MartletError(.internal, "restore: the shell has another base than the image")
        }
        // Memory and disk have nothing to do with each other, and neither with the state, which is read last.
        async let memory: Void = fillMemory(image)
        try await attach(image.layers)
        try await memory
        // Without -S the machine runs as soon as its state is loaded; the event tells.
        try await monitor.execute(
            "migrate-incoming", "{\"uri\":\"fd:\(QEMUArguments.ChildDescriptor.deviceState)\"}", until: ["RESUME"],
            timeout: .seconds(30))
        if !image.isBetweenFrames { try await reconnectGuest() }
    }

    /// Puts the device state where the process reads it, and the written pages into its memory.
    private func fillMemory(_ image: MachineImage) async throws {
        // The machine's own file: the image's may be another copy of it.
        let (directory, own) = (directory, state.withLock { $0.image })
        try await NIOThreadPool.singleton.runIfActive {
            let bytes = try AtomicFile.read(image.deviceState)
            try Descriptor.open("\(directory)/\(File.deviceState)", O_WRONLY).writeAll(bytes)
            guard let pages = image.pages else { return }
            try PageFile.apply(pages, to: self.mappedMemory(of: own))
        }
    }

    /// Puts layers between the base and the machine's own, empty one; they become files of its directory.
    func attach(_ layers: [String]) async throws {
        guard !layers.isEmpty else { return }
        var chain = state.withLock { $0.chain }
        let names = layers.map { _ in LayerChain.newName() }
        let (files, directoryChain) = (layers, chain)
        try await NIOThreadPool.singleton.runIfActive {
            for (file, name) in zip(files, names) {
                let path = directoryChain.path(name)
                guard link(file, path) == 0 else { throw SystemError("link", path, errno: errno) }
            }
        }
        var nodes = jsonString(chain.base)
        for name in names { nodes = BlockNode.layer(name, chain.inside(name), on: nodes) }
        try await monitor.execute("blockdev-add", nodes)
        let top = BlockNode.overlay(BlockNode.root, chain.inside(BlockNode.root), on: .node(names[names.count - 1]))
        try await monitor.execute("blockdev-reopen", "{\"options\":[\(top)]}")
        chain.names = names + [BlockNode.root]
        let attached = chain
        state.withLock { $0.chain = attached }
    }
}
