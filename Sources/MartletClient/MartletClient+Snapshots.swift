import AsyncHTTPClient
import FoundationEssentials
import MartletAPI
import NIOCore
import SandboxModel

extension MartletClient {
    // MARK: Pause

    /// Pauses a sandbox; it is kept until it is resumed or deleted.
    ///
    /// - Throws: `failed_precondition` when it does not run.
    @discardableResult
    public func pauseSandbox(_ id: String) async throws -> SandboxResource {
        try await transport.json(APICall(.POST, "v1", "sandboxes", id, "pause"))
    }

    /// Lets a paused sandbox go on.
    ///
    /// - Throws: `failed_precondition` when it runs, or its capture does not fit the host any more.
    @discardableResult
    public func resumeSandbox(
        _ id: String, _ request: ResumeSandboxRequest = ResumeSandboxRequest()
    ) async throws -> SandboxResource {
        try await transport.json(try transport.with(request, APICall(.POST, "v1", "sandboxes", id, "resume")))
    }

    // MARK: Snapshots

    /// Captures a sandbox, running or paused; it goes on as it was.
    ///
    /// - Parameter idempotencyKey: two calls with one key make one snapshot; each call has a key of its own otherwise.
    public func createSnapshot(
        of sandbox: String, _ request: CreateSnapshotRequest = CreateSnapshotRequest(), idempotencyKey: String? = nil
    ) async throws -> SnapshotResource {
        var call = try transport.with(request, APICall(.POST, "v1", "sandboxes", sandbox, "snapshots"))
        call.headers.append(("idempotency-key", idempotencyKey ?? RandomID.make(prefix: "i", length: 32)))
        return try await transport.json(call)
    }

    /// One page of the snapshots, newest first.
    ///
    /// - Parameters:
    ///   - sandbox: only those taken of it.
    ///   - state: nil shows those that are ready.
    public func snapshots(
        sandbox: String? = nil, name: String? = nil, kind: SnapshotKind? = nil, state: SnapshotState? = nil,
        limit: Int? = nil, cursor: String? = nil
    ) async throws -> Page<SnapshotResource> {
        try await transport.json(
            APICall(
                .GET, "v1", "snapshots",
                query: [
                    ("sandbox", sandbox), ("name", name), ("kind", kind?.rawValue), ("state", state?.rawValue),
                    ("limit", limit.map(String.init)), ("cursor", cursor),
                ]))
    }

    /// All snapshots, page after page.
    public func allSnapshots(
        sandbox: String? = nil, kind: SnapshotKind? = nil, state: SnapshotState? = nil
    ) async throws -> [SnapshotResource] {
        var all: [SnapshotResource] = []
        var cursor: String?
        repeat {
            let page = try await snapshots(sandbox: sandbox, kind: kind, state: state, cursor: cursor)
            all += page.items
            cursor = page.nextCursor
        } while cursor != nil
        return all
    }

    /// One snapshot, by id or name.
    public func snapshot(_ id: String) async throws -> SnapshotResource {
        try await transport.json(APICall(.GET, "v1", "snapshots", id))
    }

    /// Deletes a snapshot.
    ///
    /// - Returns: nil when it is gone; else the snapshot, which goes with the last sandbox made from it.
    @discardableResult
    public func deleteSnapshot(_ id: String) async throws -> SnapshotResource? {
        let body = try await transport.bytes(APICall(.DELETE, "v1", "snapshots", id))
        guard body.readableBytes > 0 else { return nil }
        do {
            return try JSONDecoder().decode(SnapshotResource.self, from: Data(body.readableBytesView))
        } catch {
            throw MartletError(.internal, "delete snapshot: \(id): the server's answer is not what this client knows")
        }
    }

    /// Opens a snapshot's export for reading. A stream that breaks off ends with an error.
    public func exportSnapshot(_ id: String) async throws -> FileDownload {
        let call = APICall(.GET, "v1", "snapshots", id, "export")
        let response = try await transport.send(call)
        return FileDownload(size: nil, mode: nil, transport: transport, call: call, body: response.body)
    }

    /// Takes in what an export wrote.
    ///
    /// - Parameters:
    ///   - content: is read no faster than the server takes it.
    ///   - size: the number of bytes, where it is known beforehand.
    public func importSnapshot<Content: AsyncSequence & Sendable>(
        _ content: Content, size: UInt64? = nil, name: String? = nil
    ) async throws -> SnapshotResource where Content.Element == ByteBuffer {
        var call = APICall(.POST, "v1", "snapshots", "import", query: [("name", name)])
        call.body = .stream(content, length: size.map { .known(Int64(clamping: $0)) } ?? .unknown)
        call.headers.append(("content-type", "application/octet-stream"))
        return try await transport.json(call)
    }

    // MARK: Forks and checkpoints

    /// Makes children of a sandbox, running or paused, or of one of its checkpoints. Some may fail: see each child.
    public func forkSandbox(
        _ id: String, _ request: ForkSandboxRequest = ForkSandboxRequest()
    ) async throws -> ForkResult {
        try await transport.json(try transport.with(request, APICall(.POST, "v1", "sandboxes", id, "fork")))
    }

    /// Makes sandboxes that go on from where a snapshot was taken. Some may fail: see each child.
    public func forkSnapshot(
        _ id: String, _ request: ForkSnapshotRequest = ForkSnapshotRequest()
    ) async throws -> ForkResult {
        try await transport.json(try transport.with(request, APICall(.POST, "v1", "snapshots", id, "fork")))
    }

    /// The checkpoints of a recording sandbox, oldest first.
    public func checkpoints(_ sandbox: String) async throws -> [SnapshotResource] {
        let page: Page<SnapshotResource> = try await transport.json(
            APICall(.GET, "v1", "sandboxes", sandbox, "checkpoints"))
        return page.items
    }

    /// Puts a recording sandbox back to one of its checkpoints.
    ///
    /// - Throws: `not_found` naming the checkpoints there are.
    @discardableResult
    public func rewindSandbox(_ id: String, to number: Int) async throws -> SandboxResource {
        let call = APICall(.POST, "v1", "sandboxes", id, "rewind")
        return try await transport.json(try transport.with(RewindRequest(to: number), call))
    }

    /// The family of a sandbox.
    public func tree(_ sandbox: String) async throws -> TreeResource {
        try await transport.json(APICall(.GET, "v1", "sandboxes", sandbox, "tree"))
    }
}
