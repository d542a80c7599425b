import ControlPlane
import E2BProtocol
import HTTPTypes
import Hummingbird
import Logging
import MartletAPI
import Metrics
import NIOCore
import SandboxModel

/// What E2B's daemon inside a sandbox offers on port 49983, offered from outside: every call is translated into what our
/// own agent understands, so that nothing of E2B is in a guest.
struct Envd: Sendable {
    let sandboxes: Sandboxes
    let processes: Processes
    let files: Files
    let tokens: AccessTokens
    let heartbeat: Duration
    let tags = ProcessTags()
    let watchers = Watchers()

    init(controlPlane: ControlPlane, heartbeat: Duration) {
        sandboxes = controlPlane.sandboxes
        processes = controlPlane.processes
        files = controlPlane.files
        tokens = controlPlane.accessTokens
        self.heartbeat = heartbeat
    }

    /// Answers a request for a sandbox's daemon, whatever becomes of it.
    func respond(to request: Request, context: APIContext, sandbox: String) async -> Response {
        guard let id = SandboxID(rawValue: sandbox), let (caller, found, dialect) = sandboxes.opened(id) else {
            return E2BErrors.notRunning(sandbox)
        }
        let isHealth = request.uri.path == "/health"
        guard isRunning(found) || (!isHealth && SandboxSettings.wakes(found, dialect: dialect)) else {
            return E2BErrors.notRunning(sandbox)
        }
        if isHealth { return Response(status: .noContent) }
        let call = EnvdCall(
            request: request, context: context, sandbox: found, caller: caller,
            settings: dialect.flatMap(SandboxSettings.init))
        do {
            try authorize(call, id)
            if let response = try await plain(call) { return response }
            return try await route(call)
        } catch {
            return failure(error, of: call)
        }
    }

    private func isRunning(_ sandbox: SandboxResource) -> Bool {
        [.running, .pausing, .resuming].contains(sandbox.state)
    }

    /// - Throws: `unauthenticated`.
    private func authorize(_ call: EnvdCall, _ id: SandboxID) throws {
        if let token = call.request.headers[.accessToken] {
            guard tokens.isValid(token, .control, of: id) else {
                throw MartletError(.unauthenticated, "access token present in header but does not match")
            }
            return
        }
        guard call.request.uri.path == "/files" else {
            throw MartletError(
                .unauthenticated,
                "unauthorized access, please provide a valid access token or method signing if supported")
        }
        try checkSignature(call, id)
    }

    private func failure(_ error: any Error, of call: EnvdCall) -> Response {
        let known = ErrorResponse.martletError(error)
        if !(error is ConnectError), known.code == .internal {
            call.context.logger.error("envd call failed", metadata: ["error": "\(error)"])
        }
        // It was paused or ended in the meantime.
        if known.details["sandbox"] != nil, known.code == .notFound || known.code == .failedPrecondition {
            return E2BErrors.notRunning(call.id)
        }
        guard call.isRPC else {
            let plain = (error as? ConnectError).map { E2BError(code: $0.code.httpStatus, message: $0.message) }
            return E2BErrors.response(plain ?? E2BErrors.files(known))
        }
        return call.unaryFailure(E2BErrors.connect(error))
    }

    /// What is no call of the Connect protocol; nil for what is.
    private func plain(_ call: EnvdCall) async throws -> Response? {
        switch (call.request.method, call.request.uri.path) {
        case (_, "/files"): try await files(call)
        case (.post, "/files/compose"): try await compose(call)
        case (.get, "/metrics"): try await metrics(call)
        case (.get, "/envs"): try await environment(call)
        default: nil
        }
    }

    private func route(_ call: EnvdCall) async throws -> Response {
        let request = call.request
        call.context.coreContext.endpointPath.value = Envd.known.contains(request.uri.path) ? request.uri.path : nil
        switch (request.method, request.uri.path) {
        case (.post, "/process.Process/Start"): return try await start(call)
        case (.post, "/process.Process/Connect"): return try await connect(call)
        case (.post, "/process.Process/List"): return try await list(call)
        case (.post, "/process.Process/Update"): return try await update(call)
        case (.post, "/process.Process/SendInput"): return try await sendInput(call)
        case (.post, "/process.Process/StreamInput"): return try await streamInput(call)
        case (.post, "/process.Process/CloseStdin"): return try await closeStdin(call)
        case (.post, "/process.Process/SendSignal"): return try await sendSignal(call)
        case (.post, "/filesystem.Filesystem/Stat"): return try await stat(call)
        case (.post, "/filesystem.Filesystem/MakeDir"): return try await makeDir(call)
        case (.post, "/filesystem.Filesystem/Move"): return try await move(call)
        case (.post, "/filesystem.Filesystem/ListDir"): return try await listDir(call)
        case (.post, "/filesystem.Filesystem/Remove"): return try await remove(call)
        case (.post, "/filesystem.Filesystem/WatchDir"): return try await watchDir(call)
        case (.post, "/filesystem.Filesystem/CreateWatcher"): return try await createWatcher(call)
        case (.post, "/filesystem.Filesystem/GetWatcherEvents"): return try await watcherEvents(call)
        case (.post, "/filesystem.Filesystem/RemoveWatcher"): return try await removeWatcher(call)
        default: throw ConnectError(.unimplemented, "\(request.method.rawValue) \(request.uri.path) is not offered")
        }
    }

    /// Paths that are told in metrics by their own name.
    private static let known = Set(
        ["Start", "Connect", "List", "Update", "SendInput", "StreamInput", "CloseStdin", "SendSignal"]
            .map { "/process.Process/\($0)" }
            + [
                "Stat", "MakeDir", "Move", "ListDir", "Remove", "WatchDir", "CreateWatcher", "GetWatcherEvents",
                "RemoveWatcher",
            ].map { "/filesystem.Filesystem/\($0)" })
}
