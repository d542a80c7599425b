import Glibc
import LinuxSystem
import NIOPosix
import SandboxEngine
import SandboxModel
import Synchronization

extension QEMUMachine {
    /// From so many layers on, thin ones are merged.
    private static let mergeThreshold = 8
    static let mergeJob = "merge"

    func capture(into directory: String, resumes: Bool) async throws -> MachineCapture {
        // A merge holds the disk; what it has copied so far is not lost by ending it.
        if state.withLock({ $0.isMerging }) {
            try? await monitor.execute("block-job-cancel", "{\"device\":\"\(QEMUMachine.mergeJob)\"}")
        }
        return try await diskWork.withLock { try await self.captureAlone(into: directory, resumes: resumes) }
    }

    private func captureAlone(into directory: String, resumes: Bool) async throws -> MachineCapture {
        var (image, chain) = state.withLock { ($0.image, $0.chain) }
        let own = image
        let memory = try await NIOThreadPool.singleton.runIfActive { try self.mappedMemory(of: own) }
        let layer = try await addLayer(chain, bytes: image.diskBytes)
        var watch = Stopwatch()
        do {
            try await pause()
            watch.lap("stop")
            // Nothing changes while the guest stands still, so that all three go on at the same time.
            async let pages = NIOThreadPool.singleton.runIfActive {
                try PageFile.write(memory, to: "\(directory)/pages")
            }
            do {
                try await saveDeviceState(to: "\(directory)/\(File.deviceState)")
            } catch {
                // QEMU does not tell why; that the disk is full is said by whoever writes the pages.
                _ = try await pages
                throw error
            }
            try await monitor.execute(
                "blockdev-snapshot", "{\"node\":\(jsonString(chain.active)),\"overlay\":\(jsonString(layer))}")
            chain.names.append(layer)
            let grown = chain
            state.withLock { $0.chain = grown }
            _ = try await pages
            watch.lap("state")
            if resumes { try await resume() }
            watch.lap("continue")
        } catch {
            try? await resume()
            if chain.active != layer { await dropLayer(layer, chain) }
            throw error
        }
        let captured = chain
        image.layers = try await NIOThreadPool.singleton.runIfActive { try captured.linkFrozen(into: directory) }
        image.pages = "\(directory)/pages"
        image.deviceState = "\(directory)/\(File.deviceState)"
        return MachineCapture(image: image, phases: watch.phases)
    }

    /// Makes an empty layer known to QEMU, to be put on top of the disk.
    private func addLayer(_ chain: LayerChain, bytes: UInt64) async throws -> String {
        let name = LayerChain.newName()
        let path = chain.path(name)
        let empty = try await overlays.path(bytes: bytes)
        try await NIOThreadPool.singleton.runIfActive { try copySmallFile(empty, to: path) }
        do {
            try chain.files.give(LayerChain.fileName(name))
            try await monitor.execute("blockdev-add", BlockNode.overlay(name, chain.inside(name), on: .nothing))
        } catch {
            unlink(path)
            throw error
        }
        return name
    }

    private func dropLayer(_ name: String, _ chain: LayerChain) async {
        try? await monitor.execute("blockdev-del", "{\"node-name\":\(jsonString(name))}")
        unlink(chain.path(name))
    }

    func mergeLayers() async throws {
        try await diskWork.withLock { try await self.mergeAlone() }
    }

    private func mergeAlone() async throws {
        let chain = state.withLock { $0.chain }
        let sizes = try await NIOThreadPool.singleton.runIfActive { chain.frozenSizes() }
        let count = LayerChain.mergeable(sizes: sizes, threshold: QEMUMachine.mergeThreshold)
        guard count > 0 else { return }
        let kept = chain.names.count - 1 - count
        let below = kept > 0 ? chain.names[kept - 1] : chain.base
        state.withLock { $0.isMerging = true }
        defer { state.withLock { $0.isMerging = false } }
        try await monitor.execute(
            "block-stream",
            "{\"job-id\":\"\(QEMUMachine.mergeJob)\",\"device\":\(jsonString(chain.active)),"
                + "\"base-node\":\(jsonString(below))}",
            until: ["BLOCK_JOB_COMPLETED", "BLOCK_JOB_CANCELLED"], timeout: .seconds(600))
        // Done, failed or cut short: what QEMU says it stands on now is what counts.
        let graph = try await monitor.execute("x-debug-query-block-graph", as: BlockGraph.self)
        guard let names = graph.layers() else {
            throw MartletError(.unavailable, "qemu: its disk is not what it was before a merge")
        }
        for name in chain.names.reversed() where !names.contains(name) { await dropLayer(name, chain) }
        state.withLock { $0.chain.names = names }
    }
}
