import SandboxModel

extension Node {
    package func pause(_ id: SandboxID) async throws -> CaptureReport { throw notYet }
    package func resume(_ id: SandboxID, from source: ResumeSource) async throws -> NodeSandbox { throw notYet }
    package func snapshot(_ id: SandboxID, as spec: SnapshotSpec) async throws -> NodeSnapshot { throw notYet }
    package func fork(_ source: ForkSource, into children: [ForkSpec]) async throws -> ForkOutcome { throw notYet }
    package func rewind(_ id: SandboxID, to snapshot: SnapshotID) async throws -> NodeSandbox { throw notYet }
    package func snapshots() async -> [NodeSnapshot] { [] }
    package func removeSnapshot(_ id: SnapshotID) async throws { throw notYet }
    package func exportSnapshot(
        _ id: SnapshotID, to sink: @escaping @Sendable ([UInt8]) async throws -> Void
    ) async throws { throw notYet }
    package func importSnapshot(
        as id: SnapshotID, from source: @escaping @Sendable () async throws -> [UInt8]?
    ) async throws -> NodeSnapshot { throw notYet }
    private var notYet: MartletError { MartletError(.unsupported, "not built yet") }
}
