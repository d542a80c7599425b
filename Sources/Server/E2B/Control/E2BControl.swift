import ControlPlane
import E2BProtocol
import HTTPTypes
import Hummingbird
import MartletAPI
import NIOCore
import SandboxModel

/// E2B's control API, at the root paths its clients use. None of it is in our own contract, `api/openapi.yaml`: it is
/// another's, and is proved with that one's clients.
struct E2BControl: Sendable {
    let sandboxes: Sandboxes
    let snapshots: Snapshots
    let templates: Templates
    let tokens: AccessTokens

    init(controlPlane: ControlPlane) {
        sandboxes = controlPlane.sandboxes
        snapshots = controlPlane.snapshots
        templates = controlPlane.templates
        tokens = controlPlane.accessTokens
    }

    var endpoints: [Endpoint] {
        let one = "/sandboxes/{id}"
        return [
            endpoint(.post, "/sandboxes", create),
            endpoint(.post, "/v2/sandboxes", create),
            endpoint(.get, one, get),
            endpoint(.delete, one, kill),
            endpoint(.post, "\(one)/timeout", setTimeout),
        ]
    }

    /// Failures, that of a key that is none among them, are told in E2B's shape.
    private func endpoint(
        _ method: HTTPRequest.Method, _ path: String, _ handler: @escaping @Sendable (APICall) async throws -> Response
    ) -> Endpoint {
        Endpoint(method, path, "E2B", "", handler: handler)
    }

    // MARK: Sandboxes

    @Sendable private func create(_ call: APICall) async throws -> Response {
        let request = try await call.lenient(NewSandbox.self)
        let made = try await sandboxes.create(
            CreateSandboxRequest(
                template: request.templateID, timeoutSeconds: request.timeout, env: request.envVars,
                metadata: request.metadata, onTimeout: request.autoPause == true ? .pause : .kill),
            idempotencyKey: call.request.headers[.idempotencyKey], caller: call.caller)
        return try E2BControl.answer(told(made), status: .created)
    }

    @Sendable private func get(_ call: APICall) async throws -> Response {
        let sandbox = try sandboxes.get(call.sandbox, caller: call.caller)
        return try E2BControl.answer(detail(sandbox, isAlone: true))
    }

    @Sendable private func kill(_ call: APICall) async throws -> Response {
        try await sandboxes.delete(call.sandbox, caller: call.caller)
        return Response(status: .noContent)
    }

    @Sendable private func setTimeout(_ call: APICall) async throws -> Response {
        let request = try await call.lenient(TimeoutRequest.self)
        _ = try await sandboxes.update(
            call.sandbox, UpdateSandboxRequest(timeoutSeconds: request.timeout), caller: call.caller)
        return Response(status: .noContent)
    }

    // MARK: Answers

    private func told(_ sandbox: SandboxResource) throws -> SandboxMade {
        guard let id = SandboxID(rawValue: sandbox.id) else {
            throw MartletError(.internal, "sandbox: \(sandbox.id): its id is none")
        }
        return SandboxMade(
            templateID: sandbox.template, sandboxID: sandbox.id, envdAccessToken: tokens.token(.control, of: id),
            alias: sandbox.template, trafficAccessToken: nil, domain: nil)
    }

    private func detail(_ sandbox: SandboxResource, isAlone: Bool) -> SandboxDetail {
        var detail = SandboxDetail(
            templateID: sandbox.template, alias: sandbox.template, sandboxID: sandbox.id,
            startedAt: sandbox.createdAt.description,
            endAt: (sandbox.expiresAt ?? sandbox.pausedAt ?? sandbox.createdAt).description, cpuCount: sandbox.cpus,
            memoryMB: sandbox.memoryMiB, diskSizeMB: sandbox.diskMiB, metadata: sandbox.metadata,
            state: sandbox.state == .paused ? "paused" : "running")
        guard isAlone, let id = SandboxID(rawValue: sandbox.id) else { return detail }
        detail.envdAccessToken = tokens.token(.control, of: id)
        detail.lifecycle = .init(onTimeout: sandbox.onTimeout.rawValue, autoResume: sandbox.onTimeout == .pause)
        return detail
    }

    static func answer(
        _ value: some Encodable, status: HTTPResponse.Status = .ok, headers: HTTPFields = [:]
    ) throws -> Response {
        var headers = headers
        headers[.contentType] = "application/json"
        return Response(
            status: status, headers: headers, body: .init(byteBuffer: ByteBuffer(bytes: try ProtoJSON.encode(value))))
    }
}

extension APICall {
    /// Reads the whole body as JSON of which unknown fields are passed over.
    func lenient<Body: Decodable>(_ type: Body.Type) async throws -> Body {
        do {
            return try ProtoJSON.decode(type, from: try await body())
        } catch let error as ConnectError {
            throw MartletError(.invalidArgument, "Error when parsing request: \(error.message)")
        }
    }
}
