import MartletAPI
import SandboxModel

extension MartletClient {
    /// Publishes a port of a sandbox; published anew it gets a new token, and the old one is good no more.
    ///
    /// - Throws: `resource_exhausted` when the sandbox has too many.
    public func publishPort(_ sandbox: String, _ request: PublishPortRequest) async throws -> PortResource {
        try await transport.json(try transport.with(request, APICall(.POST, "v1", "sandboxes", sandbox, "ports")))
    }

    /// A sandbox's published ports, without their tokens.
    public func ports(_ sandbox: String) async throws -> [PortResource] {
        let page: Page<PortResource> = try await transport.json(APICall(.GET, "v1", "sandboxes", sandbox, "ports"))
        return page.items
    }

    /// Takes a published port back; who uses it is cut off.
    public func unpublishPort(_ sandbox: String, _ port: Int) async throws {
        try await transport.perform(APICall(.DELETE, "v1", "sandboxes", sandbox, "ports", "\(port)"))
    }

    /// Connects to any port of a sandbox, published or not, and hands the connection to `body`; it is over when `body`
    /// is.
    ///
    /// - Throws: `unavailable` with `details["reason"]` `port_closed` when nothing listens on the port.
    public func withTunnel<Result: Sendable>(
        _ sandbox: String, port: Int, _ body: (PortTunnel) async throws -> Result
    ) async throws -> Result {
        let call = APICall(.GET, "v1", "sandboxes", sandbox, "tunnel", query: [("port", "\(port)")])
        return try await TunnelOpening(transport: transport, call: call).run(body)
    }
}
