import MartletAPI
import NIOCore
import SandboxModel

extension MartletClient {
    /// Makes a sandbox; returns once its guest has confirmed that it runs.
    ///
    /// - Parameter idempotencyKey: two calls with one key make one sandbox. A key of its own is made for each call, so
    ///   that a connection that breaks cannot leave a second sandbox behind.
    /// - Throws: `not_found` (template), `failed_precondition` (template not built), `resource_exhausted` (limits).
    public func createSandbox(
        _ request: CreateSandboxRequest = CreateSandboxRequest(), idempotencyKey: String? = nil
    ) async throws -> SandboxResource {
        var call = try transport.with(request, APICall(.POST, "v1", "sandboxes"))
        call.headers.append(("idempotency-key", idempotencyKey ?? RandomID.make(prefix: "i", length: 32)))
        return try await transport.json(call)
    }

    /// One page of the sandboxes.
    ///
    /// - Parameters:
    ///   - state: only those in this state; nil is the server's choice, the ones that exist.
    ///   - metadata: only those that carry all of these.
    public func sandboxes(
        state: String? = nil, metadata: [String: String] = [:], limit: Int? = nil, cursor: String? = nil
    ) async throws -> Page<SandboxResource> {
        var call = APICall(
            .GET, "v1", "sandboxes",
            query: [("state", state), ("limit", limit.map(String.init)), ("cursor", cursor)])
        for (key, value) in metadata.sorted(by: { $0.key < $1.key }) {
            call.query.append(("metadata." + PercentEncoding.encode(key), value))
        }
        return try await transport.json(call)
    }

    /// All sandboxes, page after page.
    public func allSandboxes(
        state: String? = nil, metadata: [String: String] = [:]
    ) async throws -> [SandboxResource] {
        var all: [SandboxResource] = []
        var cursor: String?
        repeat {
            let page = try await sandboxes(state: state, metadata: metadata, cursor: cursor)
            all += page.items
            cursor = page.nextCursor
        } while cursor != nil
        return all
    }

    /// One sandbox, by id or name.
    public func sandbox(_ id: String) async throws -> SandboxResource {
        try await transport.json(APICall(.GET, "v1", "sandboxes", id))
    }

    /// Changes a sandbox's time-out (counted from now) or metadata.
    public func updateSandbox(_ id: String, _ request: UpdateSandboxRequest) async throws -> SandboxResource {
        try await transport.json(try transport.with(request, APICall(.PATCH, "v1", "sandboxes", id)))
    }

    /// Ends a sandbox; returns when nothing of it is left.
    public func deleteSandbox(_ id: String) async throws {
        try await transport.perform(APICall(.DELETE, "v1", "sandboxes", id))
    }

    /// What a sandbox uses, as its guest and its host count it.
    public func metrics(_ id: String) async throws -> SandboxMetrics {
        try await transport.json(APICall(.GET, "v1", "sandboxes", id, "metrics"))
    }

    /// The end of a sandbox's console: what its kernel and agent wrote.
    public func consoleLog(_ id: String) async throws -> [UInt8] {
        let body = try await transport.bytes(APICall(.GET, "v1", "sandboxes", id, "logs"))
        return Array(body.readableBytesView)
    }

    /// What happened to a sandbox, from its beginning, and then what happens until it is gone.
    ///
    /// - Parameter follow: false ends with what has happened so far.
    public func events(_ id: String, follow: Bool = true) -> APIEventStream<SandboxEvent> {
        APIEventStream(
            transport, APICall(.GET, "v1", "sandboxes", id, "events", query: [("follow", follow ? nil : "false")]))
    }
}
