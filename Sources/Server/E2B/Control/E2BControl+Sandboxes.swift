import ControlPlane
import E2BProtocol
import FoundationEssentials
import HTTPTypes
import Hummingbird
import MartletAPI
import SandboxModel

/// Sandboxes: made, found, ended, given more time.
extension E2BControl {
    /// The most sandboxes of one page, as E2B's.
    private static let maxPage = 100

    @Sendable func create(_ call: APICall) async throws -> Response {
        let request = try await call.lenient(NewSandbox.self)
        guard request.volumeMounts?.isEmpty ?? true else {
            throw MartletError(.unsupported, "volumeMounts: this server has no volumes for clients of E2B")
        }
        let origin = try await origin(request.templateID, caller: call.caller)
        let egress = try Egress(request.network, internetAccess: request.allowInternetAccess)
        var settings = SandboxSettings(
            templateID: origin.id, alias: origin.alias, autoResume: request.autoResume?.enabled ?? false,
            keepsMemory: request.autoPauseMemory ?? true, isPublic: request.network?.allowPublicTraffic ?? true,
            internetAccess: request.allowInternetAccess, network: request.network)
        settings.user = origin.user
        settings.workingDirectory = origin.workingDirectory
        let made = try await sandboxes.create(
            CreateSandboxRequest(
                template: origin.template, timeoutSeconds: request.timeout, env: request.envVars,
                metadata: request.metadata, fromSnapshot: origin.snapshot,
                inheritEnv: origin.snapshot == nil ? nil : true,
                onTimeout: request.autoPause == true ? .pause : .kill, network: try await policy(egress.policy),
                secrets: egress.secrets.isEmpty ? nil : egress.secrets),
            idempotencyKey: call.request.headers[.idempotencyKey], dialect: try settings.text, caller: call.caller)
        return try E2BControl.answer(try told(made, settings), status: .created)
    }

    /// The policy that is put in force for one that was asked for: none, where the operator lets clients of E2B have no
    /// internet, or there is no network at all. They ask for the internet without being asked.
    func policy(_ wanted: NetworkPolicy) async throws -> NetworkPolicy {
        guard wanted.mode != .none, allowsInternet else { return .closed }
        return await host.report().network?.available == true ? wanted : .closed
    }

    @Sendable func get(_ call: APICall) async throws -> Response {
        let (sandbox, settings) = try find(call)
        return try E2BControl.answer(detail(sandbox, settings, isAlone: true))
    }

    /// The first version of the list: all that run, at once.
    @Sendable func listRunning(_ call: APICall) async throws -> Response {
        let query = try LenientQuery(call.request.uri.query)
        var filter = SandboxFilter(metadata: try E2BControl.labels(query), limit: 1000)
        filter.states = [.running, .pausing, .resuming]
        let page = try sandboxes.list(filter, caller: call.caller)
        return try E2BControl.answer(try page.items.map { try listed($0, call) })
    }

    @Sendable func list(_ call: APICall) async throws -> Response {
        let query = try LenientQuery(call.request.uri.query)
        let limit = min(try query.number("limit") ?? E2BControl.maxPage, E2BControl.maxPage)
        var filter = SandboxFilter(metadata: try E2BControl.labels(query), limit: limit, cursor: query["nextToken"])
        filter.states = try E2BControl.states(query.list("state") ?? ["running", "paused"])
        if let template = query["template"] {
            filter.origin = try await origin(template, caller: call.caller).filter
        }
        filter.createdAfter = try query["startedAfter"].map(E2BControl.moment)
        filter.isOldestFirst = query["order"] == "asc"
        let page = try sandboxes.list(filter, caller: call.caller)
        return try E2BControl.page(try page.items.map { try listed($0, call) }, next: page.nextCursor)
    }

    @Sendable func kill(_ call: APICall) async throws -> Response {
        try await sandboxes.delete(try find(call).sandbox.id, caller: call.caller)
        return Response(status: .noContent)
    }

    @Sendable func setTimeout(_ call: APICall) async throws -> Response {
        let request = try await call.lenient(TimeoutRequest.self)
        let sandbox = try find(call).sandbox
        // Older clients find out by this whether they have to resume it.
        guard sandbox.state != .paused else {
            throw MartletError(.notFound, "sandbox \"\(sandbox.id)\" is paused: it has no time-out until it is resumed")
        }
        _ = try await sandboxes.update(
            sandbox.id, UpdateSandboxRequest(timeoutSeconds: max(1, request.timeout)),
            caller: call.caller)
        return Response(status: .noContent)
    }

    /// Gives a sandbox at least so many seconds from now.
    @Sendable func refresh(_ call: APICall) async throws -> Response {
        let request = try await call.lenient(RefreshRequest.self)
        try await extend(try find(call).sandbox, toAtLeast: request.duration ?? 15, call)
        return Response(status: .noContent)
    }

    func extend(_ sandbox: SandboxResource, toAtLeast seconds: Int, _ call: APICall) async throws {
        guard let expires = sandbox.expiresAt, expires < .now.adding(seconds: Int64(seconds)) else { return }
        _ = try await sandboxes.update(
            sandbox.id, UpdateSandboxRequest(timeoutSeconds: seconds), caller: call.caller)
    }

    // MARK: Filters

    /// Labels to look for: `key=value&…`, each of them encoded once more by clients.
    private static func labels(_ query: LenientQuery) throws(MartletError) -> [String: String] {
        guard let text = query["metadata"] else { return [:] }
        var labels: [String: String] = [:]
        for (name, value) in try LenientQuery(text).all {
            guard let name = Query.decoded(name[...].utf8), let value = Query.decoded(value[...].utf8) else {
                throw .invalid("metadata", "is not UTF-8, percent-encoded")
            }
            labels[name] = value
        }
        return labels
    }

    private static func states(_ names: [String]) throws(MartletError) -> Set<SandboxState> {
        var states: Set<SandboxState> = []
        for name in names {
            switch name {
            case "running": states.formUnion([.running, .pausing, .resuming])
            case "paused": states.insert(.paused)
            default: throw .invalid("state", "'\(name.prefix(20))' is neither running nor paused")
            }
        }
        return states
    }

    /// A moment in RFC 3339, of any offset.
    private static func moment(_ text: String) throws(MartletError) -> Timestamp {
        let styles = [
            Date.ISO8601FormatStyle(includingFractionalSeconds: true),
            Date.ISO8601FormatStyle(includingFractionalSeconds: false),
        ]
        for style in styles {
            guard let date = try? style.parse(text), abs(date.timeIntervalSince1970) < 1e12 else { continue }
            return Timestamp(milliseconds: Int64((date.timeIntervalSince1970 * 1000).rounded()))
        }
        throw .invalid("startedAfter", "is no moment such as 2026-01-01T00:00:00Z")
    }
}
