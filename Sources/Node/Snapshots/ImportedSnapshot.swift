import Glibc
import ImageStore
import LinuxSystem
import SandboxEngine
import SandboxModel

/// A snapshot that came as a stream and was unpacked, on its way into the store. All of it blocks the thread.
struct ImportedSnapshot: Sendable {
    var id: SnapshotID
    /// Where it was unpacked.
    var tree: String

    /// Checks it and moves it into the store.
    ///
    /// - Parameter engines: those that are here, by name, and how they keep disks.
    /// - Throws: `invalid_argument` for what is no export, `failed_precondition` for one of an engine that is not here.
    func keep(in store: SnapshotStore, engines: [String: DiskFormat]) throws -> StoredCapture {
        let (_, snapshot, base) = try ArchiveContents(directory: tree).check(engines)
        guard engines[snapshot.sandbox.isolation.engine] != nil else {
            throw MartletError(
                .failedPrecondition,
                "import: it was captured by engine \(snapshot.sandbox.isolation.engine), which is "
                    + "not here", details: ["reason": "incompatible"])
        }
        do {
            try PageFile.verify("\(tree)/snapshot/pages")
        } catch let error as MartletError {
            throw MartletError(.invalidArgument, "import: \(error.message)", details: ["field": "body"])
        }
        let digest = try keepBase(base, in: store)
        var manifest = snapshot
        manifest.id = id.rawValue
        manifest.files = [:]
        manifest.sandbox.environment = []
        manifest.sandbox.base.digest = digest
        let staged = try store.stage()
        for name in StoreFiles.list("\(tree)/snapshot") where name != SnapshotManifest.fileName {
            try StoreFiles.rename("\(tree)/snapshot/\(name)", "\(staged)/\(name)")
        }
        return try store.seal(manifest, staged: staged)
    }

    /// Puts the base in the store under a name that says what is in it, unless the very same is there already.
    ///
    /// The name it had is only believed when the contents agree: else an import could put its own memory under other
    /// sandboxes of a template.
    private func keepBase(_ manifest: BaseStore.Manifest, in store: SnapshotStore) throws -> String {
        let home = "\(tree)/base"
        let contents = try manifest.files.keys.sorted().map { name in
            (name: name, digest: try Digest.hex(ofSparseFile: "\(home)/\(name)"))
        }
        if (try? store.bases.find(manifest.digest)) != nil {
            let known = store.bases.path(manifest.digest)
            let isSame = contents.allSatisfy { file in
                (try? Digest.hex(ofSparseFile: "\(known)/\(file.name)")) == file.digest
            }
            if isSame { return manifest.digest }
        }
        var renamed = manifest
        renamed.digest = "import-\(Digest.hex(of: contents.flatMap { [$0.name, $0.digest] }))"
        if try store.bases.find(renamed.digest) == nil {
            try StoreFiles.remove("\(home)/\(BaseStore.manifestName)")
            for name in manifest.files.keys {
                try StoreFiles.setMode("\(home)/\(name)", 0o444)
                try StoreFiles.synchronize("\(home)/\(name)")
            }
            try store.bases.seal(renamed, home)
        }
        return renamed.digest
    }
}
