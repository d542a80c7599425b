import ImageStore
import SandboxEngine
import SandboxModel

/// What a captured sandbox on storage is and consists of. Written last, and sealed: a capture without it is not there.
struct SnapshotManifest: Sealed {
    enum Kind: String, Sendable, Codable {
        /// Has an id of its own and is never changed.
        case snapshot
        /// What a paused sandbox is until it is resumed.
        case pause
    }

    /// One file beside the manifest.
    struct File: Sendable, Codable, Equatable {
        var size: Int64
        /// CRC-32C; nil for the page file, which has checksums of its own.
        var checksum: UInt32?
    }

    /// What an engine calls its files.
    struct Names: Sendable, Codable, Equatable {
        var deviceState: String
        var pages: String
        var layers: [String]
    }

    static let currentFormat = "martlet-snapshot/1"
    static let fileName = "manifest.json"

    var format = SnapshotManifest.currentFormat
    var checksum = ""
    var kind: Kind
    /// The snapshot's id, or the paused sandbox's.
    var id: String
    /// The sandbox that was captured.
    var sandbox: SandboxFile
    var report: CaptureReport
    /// How many layers the disk has over the base.
    var layers: Int
    var isBetweenFrames: Bool
    var files: [String: File] = [:]
    /// nil: `device-state`, `pages` and the `layerNames`.
    var names: Names?

    /// The files that are layers of the disk, the oldest first.
    var layerNames: [String] {
        (0..<layers).map { index in
            let formats = [DiskFormat.layers, .whole].map { "layer-\(index).\($0.rawValue)" }
            return formats.first { files[$0] != nil } ?? formats[0]
        }
    }

    /// What is restored, given where its own files and those of its base are.
    func image(in directory: String, base: MachineImage) -> MachineImage {
        var image = base
        let names = names ?? Names(deviceState: "device-state", pages: "pages", layers: layerNames)
        image.deviceState = "\(directory)/\(names.deviceState)"
        image.pages = "\(directory)/\(names.pages)"
        image.layers = names.layers.map { "\(directory)/\($0)" }
        image.diskBytes = UInt64(sandbox.diskMiB) << 20
        image.isBetweenFrames = isBetweenFrames
        return image
    }
}
