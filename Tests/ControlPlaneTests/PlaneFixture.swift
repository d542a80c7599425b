import ControlPlane
import ControlStore
import Logging
import MartletAPI
import Node
import SandboxModel
import ServiceLifecycle

/// A control plane on a store and a test node of its own, working for as long as the test.
struct PlaneFixture: Sendable {
    let plane: ControlPlane
    let node: TestNode
    let store: SQLiteStore
    let scratch: Scratch

    static func with(
        node: TestNode = TestNode(), scratch: Scratch? = nil, logger: Logger = .silent,
        configure: (inout ControlPlaneConfiguration) -> Void = { _ in },
        _ body: (PlaneFixture) async throws -> Void
    ) async throws {
        let scratch = try scratch ?? Scratch()
        let store = try await scratch.openStore()
        var configuration = ControlPlaneConfiguration(version: "test")
        configure(&configuration)
        let plane = try await ControlPlane.start(
            configuration: configuration, store: store, node: node, keyFile: scratch.path + "/api-key",
            logger: logger)
        let group = ServiceGroup(configuration: .init(services: [plane], logger: .silent))
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await group.run() }
            do {
                try await body(PlaneFixture(plane: plane, node: node, store: store, scratch: scratch))
            } catch {
                tasks.cancelAll()
                throw error
            }
            await group.triggerGracefulShutdown()
            try await tasks.waitForAll()
        }
    }

    /// Makes a sandbox as the local user.
    func create(_ request: CreateSandboxRequest = CreateSandboxRequest()) async throws -> SandboxResource {
        try await plane.sandboxes.create(request, idempotencyKey: nil, caller: .local)
    }

    /// A caller with a key of its own that is no administrator's.
    func user(_ label: String = "user") async throws -> Caller {
        let key = try await plane.keys.make(label: label, isAdmin: false)
        guard let caller = plane.keys.caller(presenting: key) else { throw MartletError(.internal, "no such key") }
        return caller
    }

    /// Runs a shell line as the local user.
    func exec(_ id: String, _ line: String = "true") async throws -> ExecResult {
        try await plane.processes.exec(id, ExecRequest(cmd: .shell(line)), caller: .local)
    }

    func sandbox(_ id: String) throws -> SandboxResource { try plane.sandboxes.get(id, caller: .local) }

    /// Returns when an event of this kind (and message) shows in a sandbox's history.
    func waitForEvent(_ id: String, kind: String, message: String? = nil) async throws {
        struct Found: Error {}
        do {
            try await plane.sandboxes.history(of: id, after: 0, follow: true, caller: .local) { stored in
                if stored.event.kind == kind, message == nil || stored.event.message == message { throw Found() }
            }
        } catch is Found {
            return
        }
        throw MartletError(.notFound, "no event \(kind) before the history ended")
    }
}

extension Logger {
    /// Logs nowhere.
    static var silent: Logger { Logger(label: "test") { _ in SwiftLogNoOpLogHandler() } }
}

/// The code a failing call fails with; nil when it succeeds, or fails otherwise.
func code<T>(_ body: () async throws -> T) async -> MartletError.Code? {
    do {
        _ = try await body()
        return nil
    } catch {
        return (error as? MartletError)?.code
    }
}
