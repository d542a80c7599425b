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

    /// What is restored, given where its own files and those of its base are.
    func image(in directory: String, base: MachineImage) -> MachineImage {
        var image = base
        image.deviceState = "\(directory)/device-state"
        image.pages = "\(directory)/pages"
        image.layers = (0..<layers).map { "\(directory)/layer-\($0).qcow2" }
        image.diskBytes = UInt64(sandbox.diskMiB) << 20
        image.isBetweenFrames = isBetweenFrames
        return image
    }
}
