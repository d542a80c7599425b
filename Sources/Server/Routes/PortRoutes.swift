import ControlPlane
import HTTPTypes
import Hummingbird
import MartletAPI
import SandboxModel

/// Published ports: published, listed, taken back. What they serve is the previews' part.
struct PortRoutes {
    private static let topic = "Ports"
    private static let root = "/v1/sandboxes/{id}/ports"
    let ports: Ports
    let addresses: PreviewAddresses

    var endpoints: [Endpoint] {
        let (topic, root) = (PortRoutes.topic, PortRoutes.root)
        return [
            Endpoint(.post, root, topic, "Publish a port.", handler: publish),
            Endpoint(.get, root, topic, "List published ports.", handler: list),
            Endpoint(.delete, "\(root)/{port}", topic, "Take a published port back.", handler: unpublish),
        ]
    }

    /// What is served outside the router, for those who describe the API.
    static var served: [Endpoint] {
        PreviewRouting.routes.map { route in
            Endpoint(route.method, route.path, topic, route.summary, isOpen: !route.path.hasSuffix("/tunnel")) { _ in
                throw MartletError(.internal, "route: it is served outside the router")
            }
        }
    }

    @Sendable private func publish(_ call: APICall) async throws -> Response {
        let request = try await call.decode(PublishPortRequest.self)
        let published = try await ports.publish(call.sandbox, request, caller: call.caller)
        // It holds the token.
        return try StrictJSON.response(
            addresses.resource(published), status: .created, headers: [.cacheControl: "no-store"])
    }

    @Sendable private func list(_ call: APICall) async throws -> Response {
        let items = try ports.list(call.sandbox, caller: call.caller).map(addresses.resource)
        return try StrictJSON.response(Page(items: items, nextCursor: nil))
    }

    @Sendable private func unpublish(_ call: APICall) async throws -> Response {
        let text = call.parameter("port")
        guard let port = UInt16(text), port > 0 else {
            throw MartletError(.notFound, "port: '\(text.prefix(20))' is no port's number")
        }
        try await ports.unpublish(call.sandbox, port: port, caller: call.caller)
        return Response(status: .noContent)
    }
}
