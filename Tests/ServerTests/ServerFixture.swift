import ControlPlane
import ControlStore
import FoundationEssentials
import HTTPTypes
import Hummingbird
import HummingbirdTesting
import Logging
import MartletAPI
import Metrics
import NIOCore
import SandboxModel
import ServiceLifecycle
import Synchronization
import Testing

@testable import Server

/// The whole API over a store, a control plane and a test node of its own.
struct ServerFixture: Sendable {
    let server: APIServer
    let plane: ControlPlane
    let node: TestNode
    let scratch: Scratch
    /// The administrator's key.
    let key: String

    static func with(
        configure: (inout ServerConfiguration) -> Void = { _ in },
        plane configurePlane: (inout ControlPlaneConfiguration) -> Void = { _ in },
        _ body: (ServerFixture) async throws -> Void
    ) async throws {
        let (scratch, node) = (try Scratch(), TestNode())
        let store = try SQLiteStore.open(directory: scratch.path)
        var planeConfiguration = ControlPlaneConfiguration(version: "test")
        configurePlane(&planeConfiguration)
        let plane = try await ControlPlane.start(
            configuration: planeConfiguration, store: store, node: node, keyFile: nil, logger: .silent)
        let key = try await plane.keys.make(label: "test", isAdmin: true)
        var configuration = ServerConfiguration()
        configure(&configuration)
        let server = APIServer(
            configuration: configuration, controlPlane: plane, metrics: SharedMetrics.registry, logger: .silent)
        let group = ServiceGroup(configuration: .init(services: [plane], logger: .silent))
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await group.run() }
            do {
                try await body(
                    ServerFixture(server: server, plane: plane, node: node, scratch: scratch, key: key))
            } catch {
                tasks.cancelAll()
                throw error
            }
            await group.triggerGracefulShutdown()
            try await tasks.waitForAll()
        }
    }

    /// The routes with authentication, without sockets.
    func routed<T>(_ body: @Sendable (APIClient) async throws -> T) async throws -> T {
        let router = server.router(authenticator: .asksForKey(plane.keys))
        let application = Application(router: router, logger: .silent)
        let key = key
        return try await application.test(.router) { try await body(APIClient(client: $0, key: key)) }
    }

    /// A sandbox of the local user.
    func create(_ request: CreateSandboxRequest = .init()) async throws -> String {
        try await plane.sandboxes.create(request, idempotencyKey: nil, caller: .local).id
    }
}

/// The metrics of this test process: bootstrapped once, as a program does.
enum SharedMetrics {
    static let registry: PrometheusMetrics = {
        let metrics = PrometheusMetrics()
        MetricsSystem.bootstrap(metrics)
        return metrics
    }()
}

/// A client of the routes that sends a key and JSON.
struct APIClient: Sendable {
    let client: any TestClientProtocol
    let key: String?

    func call(
        _ method: HTTPRequest.Method, _ path: String, _ body: String? = nil, headers: HTTPFields = [:]
    ) async throws -> APIAnswer {
        try await call(method, path, bytes: body.map { Array($0.utf8) }, headers: headers)
    }

    func call(
        _ method: HTTPRequest.Method, _ path: String, bytes: [UInt8]?, headers: HTTPFields = [:]
    ) async throws -> APIAnswer {
        var headers = headers
        if let key { headers[.authorization] = "Bearer \(key)" }
        let response = try await client.execute(
            uri: path, method: method, headers: headers, body: bytes.map { ByteBuffer(bytes: $0) })
        return APIAnswer(
            status: response.status.code, headers: response.headers, body: Array(response.body.readableBytesView))
    }
}

/// What the API answered.
struct APIAnswer: Sendable {
    var status: Int
    var headers: HTTPFields
    var body: [UInt8]

    var text: String { String(decoding: body, as: UTF8.self) }

    func json<T: Decodable>(_ type: T.Type = T.self) throws -> T {
        try JSONDecoder().decode(type, from: Data(body))
    }

    /// Checks the documented shape of errors; returns the error.
    func error() throws -> ErrorBody.Detail {
        let error = try json(ErrorBody.self).error
        #expect(MartletError.Code(rawValue: error.code) != nil, "\(error.code)")
        #expect(!error.message.isEmpty)
        #expect(error.requestID == headers[HTTPField.Name("X-Request-Id")!])
        return error
    }

    /// The server-sent events of an answer that is over.
    var events: [ServerEvent] { ServerEvent.parse(text) }
}

/// One server-sent event.
struct ServerEvent: Sendable, Equatable {
    var name = ""
    var id: String?
    var data = ""

    static func parse(_ text: String) -> [ServerEvent] {
        text.split(separator: "\n\n").compactMap { block in
            var event = ServerEvent()
            for line in block.split(separator: "\n") {
                if line.hasPrefix("event: ") { event.name = String(line.dropFirst(7)) }
                if line.hasPrefix("id: ") { event.id = String(line.dropFirst(4)) }
                if line.hasPrefix("data: ") { event.data = String(line.dropFirst(6)) }
            }
            return event.name.isEmpty ? nil : event
        }
    }

    func json<T: Decodable>(_ type: T.Type = T.self) throws -> T {
        try JSONDecoder().decode(type, from: Data(data.utf8))
    }
}

extension Logger {
    /// Logs nowhere.
    static var silent: Logger { Logger(label: "test") { _ in SwiftLogNoOpLogHandler() } }
}
