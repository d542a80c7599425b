import Glibc
import ImageStore
import LinuxSystem
import Logging
import NIOPosix
import SandboxEngine
import SandboxModel

extension Node {
    /// Host disk that an import leaves free.
    private static let diskReserve: UInt64 = 512 << 20

    package func checkExport(of id: SnapshotID) async throws {
        try await withSnapshot(id) { capture in
            guard capture.manifest.names != nil else { return }
            // Whoever imports it would have the host's kernel read a file system that came from elsewhere.
            throw MartletError(
                .unsupported,
                "export: \(id): snapshots of engine \(capture.manifest.sandbox.isolation.engine) stay on their host; "
                    + "make the sandbox with isolation 'microvm' for that")
        }
    }

    package func exportSnapshot(
        _ id: SnapshotID, to sink: @escaping @Sendable ([UInt8]) async throws -> Void
    ) async throws {
        try await checkExport(of: id)
        let store = store
        // Links of its own: the snapshot may be removed meanwhile.
        let workplace = try await withSnapshot(id) { capture in
            try await NIOThreadPool.singleton.runIfActive {
                try store.verify(capture)
                let workplace = try store.stage()
                do {
                    _ = try ArchiveContents.layOut(
                        capture, base: store.bases.path(capture.image.digest), in: workplace)
                } catch {
                    try? store.discard(workplace)
                    throw error
                }
                return workplace
            }
        }
        do {
            try await pack(workplace, to: sink)
        } catch {
            await discard(workplace)
            throw Node.explained(error)
        }
        await discard(workplace)
    }

    private func pack(_ workplace: String, to sink: @Sendable ([UInt8]) async throws -> Void) async throws {
        let archive = try await NIOThreadPool.singleton.runIfActive {
            try ArchiveProcess.pack(ArchiveContents.entries, of: workplace, log: "\(workplace)/tar.log")
        }
        do {
            while let piece = try await archive.read() { try await sink(piece) }
        } catch {
            await archive.abandon()
            throw error
        }
        if let problem = await archive.finish() { throw MartletError(.internal, "export: \(problem)") }
    }

    package func importSnapshot(
        as id: SnapshotID, from source: @escaping @Sendable () async throws -> [UInt8]?
    ) async throws -> NodeSnapshot {
        guard entries[id] == nil else { throw MartletError(.conflict, "import: \(id): there is one of that id") }
        let store = store
        let workplace = try await NIOThreadPool.singleton.runIfActive { try store.stage() }
        do {
            let capture = try await unpack(workplace, as: id, from: source)
            do {
                _ = try await restorable(capture)
            } catch {
                await removeFiles(of: capture)
                throw error
            }
            let info = try Node.snapshotInfo(capture.manifest)
            entries[id] = SnapshotEntry(info: info, lock: AsyncLock(), capture: capture)
            await discard(workplace)
            return info
        } catch {
            await discard(workplace)
            throw Node.explained(error)
        }
    }

    private func unpack(
        _ workplace: String, as id: SnapshotID, from source: @Sendable () async throws -> [UInt8]?
    ) async throws -> StoredCapture {
        let tree = "\(workplace)/tree"
        let archive = try await NIOThreadPool.singleton.runIfActive {
            try StoreFiles.makeDirectory(tree)
            return try ArchiveProcess.unpack(into: tree, log: "\(workplace)/tar.log")
        }
        do {
            try await feed(archive, from: source)
        } catch {
            await archive.abandon()
            throw error
        }
        if let problem = await archive.finish() {
            throw MartletError(
                .invalidArgument, "import: this is not a whole export: \(problem)", details: ["field": "body"])
        }
        let (store, host) = (store, ImportedSnapshot(id: id, tree: tree))
        let engines = Dictionary(engines.map { ($0.name, $0.diskFormat) }, uniquingKeysWith: { first, _ in first })
        return try await NIOThreadPool.singleton.runIfActive { try host.keep(in: store, engines: engines) }
    }

    private func feed(
        _ archive: ArchiveProcess, from source: @Sendable () async throws -> [UInt8]?
    ) async throws {
        while let piece = try await source() {
            guard HostFacts.diskAvailable(at: configuration.directory) > Node.diskReserve + UInt64(piece.count) else {
                throw MartletError(.resourceExhausted, "import: the data disk is full: free some space on it")
            }
            do {
                try await archive.write(piece)
            } catch let error as SystemError where error.errno == EPIPE {
                // It has found fault with what it was given, and says so at its end.
                return
            }
        }
    }
}
