import ControlPlane
import HTTPTypes
import Hummingbird
import MartletAPI
import SandboxModel

/// What is done with the whole state of a sandbox: paused, resumed, captured, forked, put back.
struct StateRoutes {
    private static let topic = "Pause, snapshots, forks"
    private static let root = "/v1/sandboxes/{id}"
    let sandboxes: Sandboxes
    let snapshots: Snapshots

    var endpoints: [Endpoint] {
        let (topic, root) = (StateRoutes.topic, StateRoutes.root)
        return [
            Endpoint(.post, "\(root)/pause", topic, "Pause a sandbox.", handler: pause),
            Endpoint(.post, "\(root)/resume", topic, "Resume a paused sandbox.", handler: resume),
            Endpoint(.post, "\(root)/snapshots", topic, "Capture a sandbox.", handler: capture),
            Endpoint(.post, "\(root)/fork", topic, "Fork a sandbox, live.", handler: fork),
            Endpoint(.get, "\(root)/checkpoints", topic, "The checkpoints of a recording sandbox.", handler: list),
            Endpoint(.post, "\(root)/rewind", topic, "Put a sandbox back to a checkpoint.", handler: rewind),
            Endpoint(.get, "\(root)/tree", topic, "The family of a sandbox.", handler: tree),
        ]
    }

    @Sendable private func pause(_ call: APICall) async throws -> Response {
        _ = try await call.decode(EmptyRequest.self)
        return try StrictJSON.response(try await sandboxes.pause(call.sandbox, caller: call.caller))
    }

    @Sendable private func resume(_ call: APICall) async throws -> Response {
        let request = try await call.decode(ResumeSandboxRequest.self)
        return try StrictJSON.response(try await sandboxes.resume(call.sandbox, request, caller: call.caller))
    }

    @Sendable private func capture(_ call: APICall) async throws -> Response {
        let request = try await call.decode(CreateSnapshotRequest.self)
        let snapshot = try await snapshots.create(
            call.sandbox, request, idempotencyKey: call.request.headers[.idempotencyKey], caller: call.caller)
        return try StrictJSON.response(
            snapshot, status: .created, headers: [.location: "/v1/snapshots/\(snapshot.id)"])
    }

    @Sendable private func fork(_ call: APICall) async throws -> Response {
        let request = try await call.decode(ForkSandboxRequest.self)
        let made = try await snapshots.fork(sandbox: call.sandbox, request, caller: call.caller)
        return try StrictJSON.response(made, status: .created)
    }

    @Sendable private func list(_ call: APICall) async throws -> Response {
        try StrictJSON.response(try snapshots.checkpoints(call.sandbox, caller: call.caller))
    }

    @Sendable private func rewind(_ call: APICall) async throws -> Response {
        let request = try await call.decode(RewindRequest.self)
        return try StrictJSON.response(try await snapshots.rewind(call.sandbox, request, caller: call.caller))
    }

    @Sendable private func tree(_ call: APICall) async throws -> Response {
        try StrictJSON.response(try snapshots.tree(call.sandbox, caller: call.caller))
    }
}

/// A body that holds nothing.
private struct EmptyRequest: APIRequest {
    static var fields: [String] { [] }
}
