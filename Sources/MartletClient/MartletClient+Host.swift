import MartletAPI
import NIOCore
import SandboxModel

extension MartletClient {
    /// What the server's machine runs sandboxes with, and why.
    public func host() async throws -> HostResource {
        try await transport.json(APICall(.GET, "v1", "host"))
    }

    /// Whether the server is ready for requests.
    ///
    /// - Throws: `unavailable` when it is not, or not there.
    public func checkReady() async throws {
        try await transport.perform(APICall(.GET, "readyz"))
    }

    /// The server's numbers in Prometheus's text format.
    public func prometheusMetrics() async throws -> String {
        String(decoding: try await transport.bytes(APICall(.GET, "metrics")).readableBytesView, as: UTF8.self)
    }
}
