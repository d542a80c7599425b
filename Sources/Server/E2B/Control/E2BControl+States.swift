import ControlPlane
import E2BProtocol
import HTTPTypes
import Hummingbird
import MartletAPI
import SandboxModel

/// Sandboxes paused, resumed, forked, captured.
extension E2BControl {
    /// How long a sandbox has that is resumed or forked by a client that does not say, as E2B's API has it.
    private static let resumedSeconds = 300
    private static let forkedSeconds = 15
    /// The most children of one fork, as E2B's.
    private static let maxForks = 20

    @Sendable func pause(_ call: APICall) async throws -> Response {
        let request = try await call.lenient(ResumeRequest.self)
        var (sandbox, settings) = try find(call)
        settings.pausedWithMemory = request.memory ?? true
        _ = try await sandboxes.pause(sandbox.id, caller: call.caller)
        try await sandboxes.setDialect(try settings.text, of: sandbox.id, caller: call.caller)
        return Response(status: .noContent)
    }

    /// What runs is given more time if it has less; what is paused goes on.
    @Sendable func connect(_ call: APICall) async throws -> Response {
        let request = try await call.lenient(ResumeRequest.self)
        let (sandbox, settings) = try find(call)
        let seconds = request.timeout ?? E2BControl.resumedSeconds
        guard sandbox.state == .paused else {
            try await extend(sandbox, toAtLeast: seconds, call)
            return try E2BControl.answer(try told(sandbox, settings))
        }
        let resumed = try await resume(sandbox, settings, request, seconds: seconds, call)
        return try E2BControl.answer(resumed, status: .created)
    }

    @Sendable func resume(_ call: APICall) async throws -> Response {
        let request = try await call.lenient(ResumeRequest.self)
        let (sandbox, settings) = try find(call)
        guard sandbox.state == .paused else {
            throw MartletError(.conflict, "Sandbox \(sandbox.id) is already running")
        }
        let resumed = try await resume(
            sandbox, settings, request, seconds: request.timeout ?? E2BControl.forkedSeconds, call)
        return try E2BControl.answer(resumed, status: .created)
    }

    private func resume(
        _ sandbox: SandboxResource, _ settings: SandboxSettings, _ request: ResumeRequest, seconds: Int, _ call: APICall
    ) async throws -> SandboxMade {
        var settings = settings
        let hasMemory = settings.pausedWithMemory ?? settings.keepsMemory
        let usesMemory = hasMemory && request.memory ?? true
        let resumed = try await sandboxes.resume(
            sandbox.id, ResumeSandboxRequest(from: usesMemory ? .memory : .disk, timeoutSeconds: max(1, seconds)),
            caller: call.caller)
        if let autoPause = request.autoPause {
            _ = try await sandboxes.update(
                sandbox.id, UpdateSandboxRequest(onTimeout: autoPause ? .pause : .kill), caller: call.caller)
        }
        if settings.pausedWithMemory != nil {
            settings.pausedWithMemory = nil
            try await sandboxes.setDialect(try settings.text, of: sandbox.id, caller: call.caller)
        }
        return try told(resumed, settings)
    }

    /// Each child succeeds or fails by itself. They have their parent's labels, environment, network and secrets: in E2B
    /// these are in the memory that is forked.
    @Sendable func fork(_ call: APICall) async throws -> Response {
        let request = try await call.lenient(ForkRequest.self)
        let (sandbox, settings) = try find(call)
        let count = request.count ?? 1
        guard (1...E2BControl.maxForks).contains(count) else {
            throw MartletError.invalid("count", "\(count) is outside 1...\(E2BControl.maxForks)")
        }
        guard sandbox.state == .running else {
            throw MartletError(.conflict, "Sandbox \(sandbox.id) is not running")
        }
        let made = try await snapshots.fork(
            sandbox: sandbox.id,
            ForkSandboxRequest(
                count: count, timeoutSeconds: max(1, request.timeout ?? E2BControl.forkedSeconds),
                metadata: sandbox.metadata, inheritEnv: true, inheritSecrets: true), caller: call.caller)
        let outcomes = try made.forks.map { child in
            if let sandbox = child.sandbox { return ForkOutcome(sandbox: try told(sandbox, settings)) }
            let code = child.error.flatMap { MartletError.Code(rawValue: $0.code) } ?? .internal
            return ForkOutcome(error: E2BErrors.control(MartletError(code, child.error?.message ?? "fork: it failed")))
        }
        return try E2BControl.answer(outcomes, status: .created)
    }

    // MARK: Snapshots

    @Sendable func takeSnapshot(_ call: APICall) async throws -> Response {
        let request = try await call.lenient(SnapshotRequest.self)
        guard request.memory ?? true else {
            throw MartletError(
                .unsupported, "memory: a snapshot holds the memory too; leave it out, and connect with memory false")
        }
        let (sandbox, settings) = try find(call)
        var labels = sandbox.metadata
        labels[TemplateLabels.user] = settings.user
        labels[TemplateLabels.workingDirectory] = settings.workingDirectory
        if let name = request.name { labels[TemplateLabels.name] = try TemplateLabels.checkedName(name).whole }
        let snapshot = try await snapshots.create(
            sandbox.id, CreateSnapshotRequest(metadata: labels), idempotencyKey: nil, caller: call.caller)
        return try E2BControl.answer(E2BControl.info(snapshot), status: .created)
    }

    @Sendable func listSnapshots(_ call: APICall) async throws -> Response {
        let query = try LenientQuery(call.request.uri.query)
        let filter = SnapshotFilter(
            sandbox: query["sandboxID"], kind: .snapshot, limit: min(try query.number("limit") ?? 100, 100),
            cursor: query["nextToken"])
        let page = try snapshots.list(filter, caller: call.caller)
        let wanted = query["name"]
        let items = page.items.filter { snapshot in
            wanted == nil
                || E2BControl.info(snapshot).names.contains { $0 == wanted || $0.hasPrefix("\(wanted ?? ""):") }
        }
        return try E2BControl.page(items.map(E2BControl.info), next: page.nextCursor)
    }

    static func info(_ snapshot: SnapshotResource) -> SnapshotInfo {
        SnapshotInfo(
            snapshotID: snapshot.id, names: [snapshot.metadata[TemplateLabels.name], snapshot.name].compactMap { $0 })
    }
}
