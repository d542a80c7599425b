import ControlPlane
import HTTPTypes
import Hummingbird
import SandboxModel

/// Routes of the API that are not built yet: each says so, naming what is missing. A sandbox that is not there, or not
/// the caller's, is `not_found` all the same.
struct SnapshotRoutes {
    private static let topic = "Pause, snapshots, forks, network"
    let sandboxes: Sandboxes

    var endpoints: [Endpoint] {
        [
            onSandbox(.post, "pause", "Pause a sandbox", what: "pause"),
            onSandbox(.post, "resume", "Resume a paused sandbox", what: "resume"),
            onSandbox(.post, "snapshots", "Capture a sandbox", what: "snapshots"),
            onSandbox(.post, "fork", "Fork a running sandbox", what: "fork"),
            onSandbox(.put, "network", "Replace the egress policy", what: "network policies"),
            onHost(.get, "/v1/snapshots", "List snapshots"),
            onHost(.get, "/v1/snapshots/{snapshot}", "One snapshot"),
            onHost(.delete, "/v1/snapshots/{snapshot}", "Delete a snapshot"),
            onHost(.post, "/v1/snapshots/{snapshot}/fork", "Make sandboxes from a snapshot"),
        ]
    }

    private func onSandbox(
        _ method: HTTPRequest.Method, _ name: String, _ summary: String, what: String
    ) -> Endpoint {
        Endpoint(
            method, "/v1/sandboxes/{id}/\(name)", SnapshotRoutes.topic, "\(summary). Not built yet: answers 501."
        ) { call in
            _ = try sandboxes.get(call.sandbox, caller: call.caller)
            throw SnapshotRoutes.unsupported(what)
        }
    }

    private func onHost(_ method: HTTPRequest.Method, _ path: String, _ summary: String) -> Endpoint {
        Endpoint(method, path, SnapshotRoutes.topic, "\(summary). Not built yet: answers 501.") { _ in
            throw SnapshotRoutes.unsupported("snapshots")
        }
    }

    private static func unsupported(_ what: String) -> MartletError {
        MartletError(.unsupported, "\(what): not built yet", details: ["feature": what])
    }
}
