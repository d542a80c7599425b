import FoundationEssentials
import Glibc
import ImageStore
import LinuxSystem
import SandboxEngine
import SandboxModel
import Synchronization

/// Captured sandboxes on this host's storage. All of it blocks the thread.
///
/// A capture is made in a staging directory, flushed, sealed with a manifest and renamed into place, so that one is
/// either whole or not there. Disk layers that captures have in common are one file with many links: removing a
/// capture never takes anything from another, nor from a machine.
final class SnapshotStore: Sendable {
    let bases: BaseStore
    private let root: String
    /// Checksums of layers by device, inode and size: a layer never changes, and many captures have it.
    private let known = Mutex<[LayerKey: UInt32]>([:])
    /// Captures whose files were read and found whole by this process.
    private let verified = Mutex<Set<String>>([])

    private struct LayerKey: Hashable {
        var inode: UInt64
        var size: Int64
        var modified: Int64
    }

    /// Where captures of a kind are.
    private func home(_ kind: SnapshotManifest.Kind) -> String {
        switch kind {
        case .snapshot: "\(root)/snapshots"
        case .pause: "\(root)/paused"
        }
    }

    private var staging: String { "\(root)/staging" }

    /// - Parameter root: the node's own directory; one daemon at a time uses it.
    init(root: String) throws(SystemError) {
        self.root = root
        bases = BaseStore(directory: "\(root)/bases")
        for name in ["snapshots", "paused", "staging", "bases"] { try StoreFiles.makeDirectory("\(root)/\(name)") }
    }

    /// Makes an empty directory for the files of a capture.
    func stage() throws -> String {
        let path = "\(staging)/\(RandomID.make(prefix: "b"))"
        try StoreFiles.makeDirectory(path)
        return path
    }

    /// Flushes and seals a staged capture and puts it in its place.
    ///
    /// - Returns: what is there now. The staged directory is gone, also after a failure.
    func seal(_ draft: SnapshotManifest, staged: String) throws -> StoredCapture {
        do {
            var manifest = draft
            for name in StoreFiles.list(staged) { manifest.files[name] = try flush("\(staged)/\(name)", name) }
            try bases.flush(manifest.sandbox.base.digest)
            try manifest.seal(to: "\(staged)/\(SnapshotManifest.fileName)")
            let target = "\(home(manifest.kind))/\(manifest.id)"
            try StoreFiles.remove(target)
            try StoreFiles.rename(staged, target)
            try StoreFiles.synchronize(home(manifest.kind))
            _ = verified.withLock { $0.insert(target) }
            return try stored(manifest, target)
        } catch {
            try? StoreFiles.remove(staged)
            throw error
        }
    }

    private func flush(_ path: String, _ name: String) throws -> SnapshotManifest.File {
        let file = try Descriptor.open(path, O_RDONLY)
        guard let stamp = FileStamp(path: path) else { throw SystemError("stat", path, errno: ENOENT) }
        // What can be run stays so.
        try StoreFiles.setMode(path, access(path, X_OK) == 0 ? 0o555 : 0o444)
        if name == "pages" {
            try file.synchronize()
            return SnapshotManifest.File(size: stamp.size, checksum: nil)
        }
        let key = LayerKey(inode: stamp.inode, size: stamp.size, modified: stamp.modifiedNanoseconds)
        if let checksum = known.withLock({ $0[key] }) {
            return SnapshotManifest.File(size: stamp.size, checksum: checksum)
        }
        let checksum = try Checksum.crc32c(of: file)
        try file.synchronize()
        if name.hasPrefix("layer") { known.withLock { $0[key] = checksum } }
        return SnapshotManifest.File(size: stamp.size, checksum: checksum)
    }

    private func stored(_ manifest: SnapshotManifest, _ directory: String) throws -> StoredCapture {
        guard let base = try bases.find(manifest.sandbox.base.digest) else {
            throw MartletError(
                .failedPrecondition, "capture: \(manifest.id): the base it stands on is gone",
                details: ["reason": "damaged"])
        }
        var manifest = manifest
        let hasNetworkCard = manifest.sandbox.base.hasNetworkCard
        manifest.sandbox.base = base.image
        manifest.sandbox.base.hasNetworkCard = hasNetworkCard
        manifest.sandbox.origin.kernel = base.origin.kernel
        manifest.sandbox.origin.initramfs = base.origin.initramfs
        return StoredCapture(
            manifest: manifest, directory: directory, image: manifest.image(in: directory, base: manifest.sandbox.base))
    }

    /// Makes the files of a capture appear in a staging directory as well.
    func linkFiles(of capture: StoredCapture, into staged: String) throws(SystemError) {
        for name in capture.manifest.files.keys {
            guard link("\(capture.directory)/\(name)", "\(staged)/\(name)") == 0 else {
                throw SystemError("link", name, errno: errno)
            }
        }
    }

    /// Reads every byte of a capture once in the life of this process.
    ///
    /// - Throws: `failed_precondition` naming the first file that is not what was written.
    func verify(_ capture: StoredCapture) throws {
        if verified.withLock({ $0.contains(capture.directory) }) { return }
        for (name, file) in capture.manifest.files.sorted(by: { $0.key < $1.key }) {
            let path = "\(capture.directory)/\(name)"
            if name == "pages" {
                try PageFile.verify(path)
            } else {
                try check(name, file, of: capture)
            }
        }
        _ = verified.withLock { $0.insert(capture.directory) }
    }

    /// Reads what a capture has of the disk: all that a boot from it needs.
    ///
    /// - Throws: as `verify` does.
    func verifyDisk(_ capture: StoredCapture) throws {
        if verified.withLock({ $0.contains(capture.directory) }) { return }
        for (name, file) in capture.manifest.files where name.hasPrefix("layer") {
            try check(name, file, of: capture)
        }
    }

    private func check(_ name: String, _ file: SnapshotManifest.File, of capture: StoredCapture) throws {
        guard let expected = file.checksum else { return }
        let found = try? Checksum.crc32c(of: Descriptor.open("\(capture.directory)/\(name)", O_RDONLY))
        guard found == expected else { throw SnapshotStore.damaged(capture.manifest.id, name) }
    }

    static func damaged(_ id: String, _ file: String) -> MartletError {
        MartletError(
            .failedPrecondition, "capture: \(id): \(file) is damaged: its contents are not what was written",
            details: ["reason": "damaged", "file": file])
    }

    /// All captures of a kind that are whole, as far as sizes tell.
    ///
    /// - Parameter problem: called for each that is not, which stays where it is.
    func load(_ kind: SnapshotManifest.Kind, problem: (String, any Error) -> Void) -> [StoredCapture] {
        StoreFiles.list(home(kind)).compactMap { name in
            let directory = "\(home(kind))/\(name)"
            do {
                let manifest = try SnapshotManifest.unseal("\(directory)/\(SnapshotManifest.fileName)")
                for (file, expected) in manifest.files
                where FileStamp(path: "\(directory)/\(file)")?.size != expected.size {
                    throw CorruptFile(path: "\(directory)/\(file)", why: "it is missing or has another size")
                }
                return try stored(manifest, directory)
            } catch {
                problem(name, error)
                return nil
            }
        }
    }

    func remove(_ capture: StoredCapture) throws(SystemError) {
        _ = verified.withLock { $0.remove(capture.directory) }
        try discard(capture.directory)
    }

    /// Removes a staged or finished capture; out of sight first, so that half of one is never found.
    func discard(_ directory: String) throws(SystemError) {
        guard StoreFiles.exists(directory) else { return }
        let aside = "\(staging)/\(RandomID.make(prefix: "x"))"
        try StoreFiles.rename(directory, aside)
        try StoreFiles.remove(aside)
    }

    /// Removes what an earlier process was making when it ended, and bases nothing stands on.
    func collect(keeping digests: Set<String>) {
        for name in StoreFiles.list(staging) { try? StoreFiles.remove("\(staging)/\(name)") }
        known.withLock { $0.removeAll() }
        bases.collect(keeping: digests)
    }
}
