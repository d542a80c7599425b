import SandboxModel

extension Node {
    package func exportSnapshot(
        _ id: SnapshotID, to sink: @escaping @Sendable ([UInt8]) async throws -> Void
    ) async throws { throw MartletError(.unsupported, "export: not built yet") }
    package func importSnapshot(
        as id: SnapshotID, from source: @escaping @Sendable () async throws -> [UInt8]?
    ) async throws -> NodeSnapshot { throw MartletError(.unsupported, "import: not built yet") }
}
