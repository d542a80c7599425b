import ControlPlane
import HTTPTypes
import Hummingbird
import MartletAPI
import NIOCore
import SandboxModel

/// Sandboxes: made, found, changed, ended, looked at.
struct SandboxRoutes {
    private static let topic = "Sandboxes"
    let sandboxes: Sandboxes
    let processes: Processes

    var endpoints: [Endpoint] {
        let topic = SandboxRoutes.topic
        return [
            Endpoint(.post, "/v1/sandboxes", topic, "Make a sandbox.", handler: create),
            Endpoint(.get, "/v1/sandboxes", topic, "List sandboxes, newest first.", handler: list),
            Endpoint(.get, "/v1/sandboxes/{id}", topic, "One sandbox, by id or name.", handler: get),
            Endpoint(.patch, "/v1/sandboxes/{id}", topic, "Change time-out or metadata.", handler: update),
            Endpoint(.delete, "/v1/sandboxes/{id}", topic, "Kill a sandbox.", handler: delete),
            Endpoint(.post, "/v1/sandboxes/{id}/exec", topic, "Run a command to its end.", handler: exec),
            Endpoint(.get, "/v1/sandboxes/{id}/metrics", topic, "CPU, memory, disk, network.", handler: metrics),
            Endpoint(.get, "/v1/sandboxes/{id}/logs", topic, "The end of the console.", handler: logs),
            Endpoint(.get, "/v1/sandboxes/{id}/events", topic, "What happened, as events.", handler: events),
        ]
    }

    @Sendable private func create(_ call: APICall) async throws -> Response {
        let request = try await call.decode(CreateSandboxRequest.self)
        let sandbox = try await sandboxes.create(
            request, idempotencyKey: call.request.headers[.idempotencyKey], caller: call.caller)
        return try StrictJSON.response(
            sandbox, status: .created, headers: [.location: "/v1/sandboxes/\(sandbox.id)"])
    }

    @Sendable private func list(_ call: APICall) async throws -> Response {
        let query = try call.query("state", "limit", "cursor", prefixes: ["metadata."])
        let state = try query["state"].map { text throws(MartletError) in
            guard let state = SandboxState(rawValue: text) else { throw .invalid("state", "is no state of a sandbox") }
            return state
        }
        let filter = SandboxFilter(
            state: state, metadata: query.values(under: "metadata."), limit: try query.number("limit", 100),
            cursor: query["cursor"])
        return try StrictJSON.response(try sandboxes.list(filter, caller: call.caller))
    }

    @Sendable private func get(_ call: APICall) async throws -> Response {
        try StrictJSON.response(try sandboxes.get(call.sandbox, caller: call.caller))
    }

    @Sendable private func update(_ call: APICall) async throws -> Response {
        let request = try await call.decode(UpdateSandboxRequest.self)
        return try StrictJSON.response(try await sandboxes.update(call.sandbox, request, caller: call.caller))
    }

    @Sendable private func delete(_ call: APICall) async throws -> Response {
        try await sandboxes.delete(call.sandbox, caller: call.caller)
        return Response(status: .noContent)
    }

    @Sendable private func exec(_ call: APICall) async throws -> Response {
        let request = try await call.decode(ExecRequest.self)
        let result = try await call.whileClientStays {
            try await processes.exec(call.sandbox, request, caller: call.caller)
        }
        return try StrictJSON.response(result)
    }

    @Sendable private func metrics(_ call: APICall) async throws -> Response {
        try StrictJSON.response(try await sandboxes.metrics(call.sandbox, caller: call.caller))
    }

    @Sendable private func logs(_ call: APICall) async throws -> Response {
        let log = try await sandboxes.consoleLog(call.sandbox, caller: call.caller)
        // The guest writes what it likes: nothing may take it for a page.
        let headers: HTTPFields = [.contentType: "text/plain; charset=utf-8", .contentTypeOptions: "nosniff"]
        return Response(status: .ok, headers: headers, body: .init(byteBuffer: ByteBuffer(bytes: log)))
    }

    @Sendable private func events(_ call: APICall) async throws -> Response {
        let query = try call.query("follow", "after")
        let follow = try query.flag("follow", true)
        let last = call.request.headers[.lastEventID].flatMap { Int64($0) }
        let after = try last ?? query.number("after", 0)
        let id = try sandboxes.get(call.sandbox, caller: call.caller).id
        return EventStream.response(call) { sink in
            try await sandboxes.history(of: id, after: after, follow: follow, caller: call.caller) { stored in
                try await sink.send(stored.event.kind, id: "\(stored.sequence)", data: stored.event)
            }
        }
    }
}
