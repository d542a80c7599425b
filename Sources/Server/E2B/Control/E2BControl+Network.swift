import ControlPlane
import E2BProtocol
import HTTPTypes
import Hummingbird
import MartletAPI
import SandboxModel

/// What a running sandbox may reach.
extension E2BControl {
    /// Replaces what was asked for before, as a whole.
    @Sendable func setNetwork(_ call: APICall) async throws -> Response {
        let update = try await call.lenient(NetworkUpdate.self)
        var (sandbox, settings) = try find(call)
        guard update.config.rules?.isEmpty ?? true else {
            throw MartletError(.unsupported, "network.rules: are set when a sandbox is created, and stay")
        }
        let egress = try Egress(update.config, internetAccess: update.allowInternetAccess)
        _ = try await sandboxes.setNetwork(sandbox.id, try await policy(egress.policy), caller: call.caller)
        var config = update.config
        config.allowPublicTraffic = settings.network?.allowPublicTraffic
        config.maskRequestHost = settings.network?.maskRequestHost
        config.rules = settings.network?.rules
        settings.network = config
        settings.internetAccess = update.allowInternetAccess
        try await sandboxes.setDialect(try settings.text, of: sandbox.id, caller: call.caller)
        return Response(status: .noContent)
    }
}
