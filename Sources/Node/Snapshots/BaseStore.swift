import CLinux
import Glibc
import ImageStore
import LinuxSystem
import SandboxEngine
import SandboxModel

extension MachineImage {
    /// With what of a machine is not its base's: two machines may differ in it and stand on the same.
    fileprivate func asked(by image: MachineImage) -> MachineImage {
        var result = self
        result.hasNetworkCard = image.hasNetworkCard
        return result
    }
}

/// The memory images and disks that captures stand on, kept as long as any of them does, whatever becomes of the
/// template they came from. All of it blocks the thread.
///
/// A base is a directory named by its digest. Its files are links to those of the image store, so that they take no
/// space and share the page cache; on another file system they are copies.
struct BaseStore: Sendable {
    /// The seal of a base: what it consists of.
    struct Manifest: Sealed {
        static let currentFormat = "martlet-base/1"
        var format = Manifest.currentFormat
        var checksum = ""
        var digest: String
        var shape: MachineShape
        var disks: Int
        var diskBytes: UInt64
        var origin: SandboxOrigin
        /// Sizes by file name.
        var files: [String: Int64]
    }

    static let manifestName = "base.json"
    let directory: String

    func path(_ digest: String) -> String { "\(directory)/\(digest)" }

    /// A base that is kept, with its origin's paths leading into it; nil when there is none.
    ///
    /// - Throws: `failed_precondition` when it is damaged.
    func find(_ digest: String) throws -> (image: MachineImage, origin: SandboxOrigin)? {
        let home = path(digest)
        guard StoreFiles.exists("\(home)/\(BaseStore.manifestName)") else { return nil }
        let manifest: Manifest
        do {
            manifest = try Manifest.unseal("\(home)/\(BaseStore.manifestName)")
            for (name, size) in manifest.files where FileStamp(path: "\(home)/\(name)")?.size != size {
                throw CorruptFile(path: "\(home)/\(name)", why: "it is missing or has another size")
            }
        } catch {
            throw MartletError(
                .failedPrecondition, "base of a capture: \(digest.prefix(12)): it is damaged: \(error)",
                details: ["reason": "damaged"])
        }
        var origin = manifest.origin
        origin.kernel = "\(home)/kernel"
        origin.initramfs = "\(home)/initramfs"
        let disks = (0..<manifest.disks).map { "\(home)/disk-\($0)" }
        let image = MachineImage(
            digest: digest, memory: manifest.files["memory"] == nil ? "" : "\(home)/memory", baseDisks: disks,
            shape: manifest.shape,
            deviceState: "", diskBytes: manifest.diskBytes)
        return (image, origin)
    }

    /// Keeps what an image stands on; does nothing when it is kept already.
    ///
    /// - Returns: the same with the paths of what is kept.
    func keep(_ image: MachineImage, _ origin: SandboxOrigin) throws -> (image: MachineImage, origin: SandboxOrigin) {
        if let kept = try find(image.digest) { return (kept.image.asked(by: image), kept.origin) }
        let staged = "\(directory)/.new-\(RandomID.make(prefix: "b"))"
        try StoreFiles.makeDirectory(staged)
        do {
            var sources = ["kernel": origin.kernel, "initramfs": origin.initramfs]
            if !image.memory.isEmpty { sources["memory"] = image.memory }
            for (index, disk) in image.baseDisks.enumerated() { sources["disk-\(index)"] = disk }
            var files: [String: Int64] = [:]
            for (name, source) in sources {
                try StoreFiles.linkOrCopy(source, "\(staged)/\(name)")
                files[name] = FileStamp(path: "\(staged)/\(name)")?.size
            }
            try seal(
                Manifest(
                    digest: image.digest, shape: image.shape, disks: image.baseDisks.count,
                    diskBytes: image.diskBytes, origin: origin, files: files), staged)
        } catch {
            try? StoreFiles.remove(staged)
            throw error
        }
        guard let kept = try find(image.digest) else {
            throw MartletError(.internal, "keep base: \(image.digest.prefix(12)): it vanished")
        }
        return (kept.image.asked(by: image), kept.origin)
    }

    /// Keeps a base like an image's, but with memory that is all zeros: what a machine stands on that was booted.
    ///
    /// - Returns: an image of that base, of the same disk size.
    func keepBlank(_ image: MachineImage, _ origin: SandboxOrigin) throws -> MachineImage {
        var blank = image
        blank.digest = image.digest.hasPrefix("blank-") ? image.digest : "blank-\(image.digest)"
        blank.pages = nil
        blank.layers = []
        if try find(blank.digest) == nil {
            let zeros = "\(directory)/.zeros-\(RandomID.make(prefix: "b"))"
            let file = try Descriptor.open(zeros, O_RDWR | O_CREAT | O_EXCL, mode: 0o444)
            defer { unlink(zeros) }
            guard ftruncate(file.number, image.shape.memoryMiB << 20) == 0 else {
                throw SystemError("truncate", zeros, errno: errno)
            }
            blank.memory = zeros
            _ = try keep(blank, origin)
        }
        guard let kept = try find(blank.digest) else {
            throw MartletError(.internal, "keep base: \(blank.digest.prefix(18)): it vanished")
        }
        blank.memory = kept.image.memory
        blank.baseDisks = kept.image.baseDisks
        return blank
    }

    /// Names of bases that were made of a capture, and are of no use once nothing stands on them.
    static let mergedPrefix = "merged-"

    /// Makes a base of an image's base and the pages written over it, so that machines share those, too. Nothing is
    /// flushed: see `flush`.
    ///
    /// - Returns: the same image over the new base, with no pages of its own.
    func merge(_ image: MachineImage, _ pages: String, _ origin: SandboxOrigin) throws -> MachineImage {
        var merged = image
        merged.digest = BaseStore.mergedPrefix + RandomID.make(prefix: "b")
        merged.pages = nil
        let copy = "\(directory)/.memory-\(RandomID.make(prefix: "b"))"
        defer { unlink(copy) }
        try StoreFiles.copySparse(image.memory, copy, flushes: false)
        try StoreFiles.setMode(copy, 0o600)
        try PageFile.apply(pages, toImage: Descriptor.open(copy, O_RDWR))
        try StoreFiles.setMode(copy, 0o444)
        merged.memory = copy
        let kept = try keep(merged, origin)
        merged.memory = kept.image.memory
        merged.baseDisks = kept.image.baseDisks
        return merged
    }

    /// Brings the memory of a base that was merged to the storage.
    func flush(_ digest: String) throws(SystemError) {
        guard digest.hasPrefix(BaseStore.mergedPrefix) else { return }
        try StoreFiles.synchronize("\(path(digest))/memory")
    }

    /// Takes merged bases that are not named out of the store: quick, for their files are only put aside.
    func putAsideMerged(keeping digests: Set<String>) {
        for name in StoreFiles.list(directory) where name.hasPrefix(BaseStore.mergedPrefix) && !digests.contains(name) {
            try? StoreFiles.rename("\(directory)/\(name)", "\(directory)/\(BaseStore.asidePrefix)\(name)")
        }
    }

    /// Removes what was put aside.
    func removeAside() {
        for name in StoreFiles.list(directory) where name.hasPrefix(BaseStore.asidePrefix) {
            try? StoreFiles.remove("\(directory)/\(name)")
        }
    }

    private static let asidePrefix = ".aside-"

    /// Puts a staged base in its place; another one that is there already wins, for it is the same.
    func seal(_ manifest: Manifest, _ staged: String) throws {
        try manifest.seal(to: "\(staged)/\(BaseStore.manifestName)")
        do {
            try StoreFiles.rename(staged, path(manifest.digest))
        } catch {
            guard StoreFiles.exists("\(path(manifest.digest))/\(BaseStore.manifestName)") else { throw error }
            try StoreFiles.remove(staged)
        }
        try StoreFiles.synchronize(directory)
    }

    /// Removes what is not named and what was not finished.
    func collect(keeping digests: Set<String>) {
        for name in StoreFiles.list(directory) where !digests.contains(name) {
            try? StoreFiles.remove("\(directory)/\(name)")
        }
    }
}
