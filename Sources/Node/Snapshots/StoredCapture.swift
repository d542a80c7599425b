import SandboxEngine

/// A captured sandbox and where its files are.
struct StoredCapture: Sendable {
    var manifest: SnapshotManifest
    var directory: String
    var image: MachineImage
}
