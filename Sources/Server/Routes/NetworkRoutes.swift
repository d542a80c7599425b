import ControlPlane
import Hummingbird
import MartletAPI
import SandboxModel

/// What a sandbox may reach.
struct NetworkRoutes {
    private static let topic = "Network"
    private static let path = "/v1/sandboxes/{id}/network"
    let sandboxes: Sandboxes

    var endpoints: [Endpoint] {
        let (topic, path) = (NetworkRoutes.topic, NetworkRoutes.path)
        return [
            Endpoint(.get, path, topic, "Policy, secrets without their values, traffic.", handler: get),
            Endpoint(.put, path, topic, "Replace the policy, at once.", handler: set),
        ]
    }

    @Sendable private func get(_ call: APICall) async throws -> Response {
        try StrictJSON.response(try await sandboxes.network(call.sandbox, caller: call.caller))
    }

    @Sendable private func set(_ call: APICall) async throws -> Response {
        let policy = try await call.decode(NetworkPolicy.self)
        return try StrictJSON.response(try await sandboxes.setNetwork(call.sandbox, policy, caller: call.caller))
    }
}
