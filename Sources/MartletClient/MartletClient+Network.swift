import MartletAPI
import SandboxModel

extension MartletClient {
    /// What a sandbox may reach, its secrets without their values, and its traffic.
    public func network(_ id: String) async throws -> NetworkResource {
        try await transport.json(APICall(.GET, "v1", "sandboxes", id, "network"))
    }

    /// Replaces what a sandbox may reach, at once and as a whole; connections that the policy does not allow end.
    ///
    /// - Throws: `failed_precondition` when it neither runs nor is paused; `unsupported` where there is no network. What
    ///   it was stays in force then.
    @discardableResult
    public func setNetwork(_ id: String, _ policy: NetworkPolicy) async throws -> SandboxResource {
        try await transport.json(try transport.with(policy, APICall(.PUT, "v1", "sandboxes", id, "network")))
    }
}
