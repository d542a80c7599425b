import ControlPlane
import HTTPTypes
import Hummingbird
import MartletAPI

/// Templates and their builds.
struct TemplateRoutes {
    private static let topic = "Templates"
    let templates: Templates

    var endpoints: [Endpoint] {
        let (topic, build) = (TemplateRoutes.topic, "/v1/templates/{name}/builds/{build}")
        return [
            Endpoint(.get, "/v1/templates", topic, "List templates.", handler: list),
            Endpoint(.post, "/v1/templates", topic, "Build a template.", handler: start),
            Endpoint(.get, "/v1/templates/{name}", topic, "One template.", handler: get),
            Endpoint(.delete, "/v1/templates/{name}", topic, "Remove what was built.", handler: delete),
            Endpoint(.get, build, topic, "One build.", handler: getBuild),
            Endpoint(.get, "\(build)/logs", topic, "Follow a build, as events.", handler: logs),
        ]
    }

    @Sendable private func list(_ call: APICall) async throws -> Response {
        try StrictJSON.response(Page(items: try await templates.list(caller: call.caller), nextCursor: nil))
    }

    @Sendable private func start(_ call: APICall) async throws -> Response {
        let request = try await call.decode(BuildTemplateRequest.self)
        let build = try await templates.build(request, caller: call.caller)
        return try StrictJSON.response(
            build, status: .accepted, headers: [.location: "/v1/templates/\(build.template)/builds/\(build.id)"])
    }

    @Sendable private func get(_ call: APICall) async throws -> Response {
        try StrictJSON.response(try await templates.get(call.parameter("name"), caller: call.caller))
    }

    @Sendable private func delete(_ call: APICall) async throws -> Response {
        try await templates.remove(call.parameter("name"), caller: call.caller)
        return Response(status: .noContent)
    }

    @Sendable private func getBuild(_ call: APICall) async throws -> Response {
        try StrictJSON.response(
            try templates.build(call.parameter("build"), of: call.parameter("name"), caller: call.caller))
    }

    /// Events `progress`; the last one is `done`, whose state tells how it went.
    @Sendable private func logs(_ call: APICall) async throws -> Response {
        let (id, name) = (call.parameter("build"), call.parameter("name"))
        _ = try templates.build(id, of: name, caller: call.caller)
        return EventStream.response(call) { sink in
            try await templates.follow(id, of: name, caller: call.caller) { build in
                try await sink.send(build.state == "running" ? "progress" : "done", data: build)
            }
        }
    }
}
