import E2BProtocol
import Hummingbird
import SandboxModel

/// Before all routes: requests that are for a sandbox, by their headers, their host or their signature, are none of the
/// API's.
struct SandboxFrontDoor: RouterMiddleware {
    typealias Context = APIContext

    let envd: Envd

    func handle(
        _ request: Request, context: APIContext, next: (Request, APIContext) async throws -> Response
    ) async throws -> Response {
        guard let address = SandboxAddress(request) else {
            if let id = envd.sandbox(signed: request) {
                return await envd.respond(to: request, context: context, sandbox: id.rawValue)
            }
            return try await next(request, context)
        }
        guard address.port == E2BConstants.envdPort else {
            // Other ports are served before this, below the domain that the operator has set.
            return E2BErrors.response(
                ProxyFailure(
                    sandboxId: address.sandbox,
                    message: "this host name is not below the server's domain; it is set with 'martlet serve --domain'",
                    port: address.port))
        }
        return await envd.respond(to: request, context: context, sandbox: address.sandbox)
    }
}
