import CLinux
import Glibc
import ImageStore
import LinuxSystem
import SandboxEngine
import SandboxModel

/// What is inside an exported snapshot: `export.json`, and the directories `snapshot` and `base` as they are stored.
/// All of it blocks the thread.
struct ArchiveContents: Sendable {
    /// Sealed list of the base's files with their checksums; those of the snapshot are in its own manifest.
    struct Listing: Sealed {
        static let currentFormat = "martlet-export/1"
        var format = Listing.currentFormat
        var checksum = ""
        var base: String
        var files: [String: SnapshotManifest.File]
    }

    static let listingName = "export.json"
    static let entries = [listingName, "snapshot", "base"]
    /// More layers than this are no honest snapshot.
    private static let maxLayers = 1024
    let directory: String

    /// Lays out a capture for packing; its files are links.
    static func layOut(_ capture: StoredCapture, base: String, in directory: String) throws -> ArchiveContents {
        for (source, name) in [(capture.directory, "snapshot"), (base, "base")] {
            try StoreFiles.makeDirectory("\(directory)/\(name)")
            for file in StoreFiles.list(source) {
                try StoreFiles.linkOrCopy("\(source)/\(file)", "\(directory)/\(name)/\(file)")
            }
        }
        try elideZeros("\(directory)/snapshot/pages")
        var files: [String: SnapshotManifest.File] = [:]
        for name in StoreFiles.list("\(directory)/base") where name != BaseStore.manifestName {
            files[name] = try fact("\(directory)/base/\(name)")
        }
        try Listing(base: capture.image.digest, files: files).seal(to: "\(directory)/\(listingName)")
        return ArchiveContents(directory: directory)
    }

    /// Replaces the link to a page file by a copy in which pages of zeros are holes.
    private static func elideZeros(_ path: String) throws {
        let copy = path + ".sparse"
        try StoreFiles.copySparse(path, copy)
        try StoreFiles.setMode(copy, 0o600)
        try StoreFiles.digHoles(copy)
        try SystemError.check(clinux_rename(copy, path), "rename", path)
    }

    private static func fact(_ path: String) throws -> SnapshotManifest.File {
        let file = try Descriptor.open(path, O_RDONLY | O_NOFOLLOW)
        return SnapshotManifest.File(
            size: FileStamp(path: path)?.size ?? 0, checksum: try Checksum.crc32c(of: file))
    }

    /// Checks that what was unpacked is an export, whole and of plain files only, and that its disks lead nowhere else.
    ///
    /// - Parameter formats: how engines keep disks, by their names.
    /// - Throws: `invalid_argument` saying what is wrong.
    func check(_ formats: [String: DiskFormat]) throws -> (
        listing: Listing, snapshot: SnapshotManifest, base: BaseStore.Manifest
    ) {
        do {
            try checkKinds()
            let listing = try Listing.unseal("\(directory)/\(ArchiveContents.listingName)")
            let snapshot = try SnapshotManifest.unseal("\(directory)/snapshot/\(SnapshotManifest.fileName)")
            let base = try BaseStore.Manifest.unseal("\(directory)/base/\(BaseStore.manifestName)")
            let format = formats[snapshot.sandbox.isolation.engine] ?? .layers
            try check(snapshot, format)
            try check(base, listing, format)
            return (listing, snapshot, base)
        } catch let error as CorruptFile {
            throw wrong("\(error)")
        } catch let error as SystemError {
            throw wrong("\(error)")
        }
    }

    private func checkKinds() throws {
        guard Set(StoreFiles.list(directory)) == Set(ArchiveContents.entries) else {
            throw wrong("it does not have what an export has")
        }
        for name in ["snapshot", "base"] {
            guard StoreFiles.isDirectory("\(directory)/\(name)") else { throw wrong("\(name) is no directory") }
            for file in StoreFiles.list("\(directory)/\(name)") { try checkPlain("\(directory)/\(name)/\(file)") }
        }
        try checkPlain("\(directory)/\(ArchiveContents.listingName)")
    }

    private func checkPlain(_ path: String) throws {
        var info = stat()
        guard lstat(path, &info) == 0, info.st_mode & S_IFMT == S_IFREG, info.st_nlink == 1 else {
            throw wrong("\(path.split(separator: "/").last ?? "") is no plain file")
        }
    }

    private func check(_ snapshot: SnapshotManifest, _ format: DiskFormat) throws {
        guard snapshot.kind == .snapshot, snapshot.names == nil, SandboxID(rawValue: snapshot.sandbox.id) != nil,
            (1...ArchiveContents.maxLayers).contains(snapshot.layers), snapshot.sandbox.generation >= 0
        else { throw wrong("its manifest makes no sense") }
        let shape = snapshot.sandbox.shape
        _ = try MachineShape(cpus: shape.cpus, memoryMiB: shape.memoryMiB)
        _ = try SandboxName.parse(snapshot.sandbox.template, field: "template")
        guard (1...1_048_576).contains(snapshot.sandbox.diskMiB) else { throw wrong("its disk's size makes no sense") }
        let layers = (0..<snapshot.layers).map { "layer-\($0).\(format.rawValue)" }
        let expected = Set(["device-state", "pages"] + layers)
        let found = Set(StoreFiles.list("\(directory)/snapshot")).subtracting([SnapshotManifest.fileName])
        guard Set(snapshot.files.keys) == expected, found == expected else {
            throw wrong("files are missing or too many")
        }
        for (name, file) in snapshot.files {
            let path = "\(directory)/snapshot/\(name)"
            if name == "pages" { continue }
            guard let checksum = file.checksum, try ArchiveContents.fact(path).checksum == checksum else {
                throw wrong("\(name) is damaged")
            }
        }
        guard format == .layers else { return }
        for layer in layers { try QCOW2Header.check("\(directory)/snapshot/\(layer)") }
    }

    private func check(_ base: BaseStore.Manifest, _ listing: Listing, _ format: DiskFormat) throws {
        guard (1...16).contains(base.disks) else { throw wrong("its base makes no sense") }
        let expected = Set(["memory", "kernel", "initramfs"] + (0..<base.disks).map { "disk-\($0)" })
        let found = Set(StoreFiles.list("\(directory)/base")).subtracting([BaseStore.manifestName])
        guard Set(listing.files.keys) == expected, found == expected, Set(base.files.keys) == expected else {
            throw wrong("files of its base are missing or too many")
        }
        for (name, file) in listing.files {
            let fact = try ArchiveContents.fact("\(directory)/base/\(name)")
            guard fact == file, base.files[name] == fact.size else { throw wrong("\(name) of its base is damaged") }
        }
        guard base.files["memory"] == Int64(base.shape.memoryMiB) << 20 else {
            throw wrong("its base's memory has another size")
        }
        guard format == .layers else { return }
        // The first is a raw image; the others have headers, which could name other files of this host.
        for index in 1..<max(1, base.disks) { try QCOW2Header.check("\(directory)/base/disk-\(index)") }
    }

    private func wrong(_ why: String) -> MartletError {
        MartletError(.invalidArgument, "import: this is not a whole export: \(why)", details: ["field": "body"])
    }
}
