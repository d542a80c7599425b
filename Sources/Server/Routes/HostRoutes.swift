import ControlPlane
import HTTPTypes
import Hummingbird
import NIOCore
import SandboxModel

/// The host: what it is, whether it works, and its numbers.
struct HostRoutes {
    private static let topic = "Host"
    let host: Host
    let metrics: PrometheusMetrics

    var endpoints: [Endpoint] {
        let topic = HostRoutes.topic
        return [
            Endpoint(.get, "/v1/host", topic, "Engines, accelerator and why, capacity, pools.", handler: report),
            Endpoint(.get, "/healthz", topic, "Whether the daemon answers.", isOpen: true, handler: health),
            Endpoint(.get, "/readyz", topic, "Whether sandboxes can be made.", isOpen: true, handler: readiness),
            Endpoint(.get, "/metrics", topic, "Numbers for Prometheus.", isOpen: true, handler: exposition),
        ]
    }

    @Sendable private func report(_ call: APICall) async throws -> Response {
        try StrictJSON.response(await host.report())
    }

    @Sendable private func health(_ call: APICall) async throws -> Response {
        try StrictJSON.response(["status": "ok"])
    }

    @Sendable private func readiness(_ call: APICall) async throws -> Response {
        guard await host.isReady() else {
            throw MartletError(.unavailable, "host: no engine can be used here; GET /v1/host says why")
        }
        return try StrictJSON.response(["status": "ready"])
    }

    @Sendable private func exposition(_ call: APICall) async throws -> Response {
        await host.refreshGauges()
        return Response(
            status: .ok, headers: [.contentType: "text/plain; version=0.0.4; charset=utf-8"],
            body: .init(byteBuffer: ByteBuffer(string: metrics.exposition())))
    }
}
