import ControlPlane
import Hummingbird
import Logging
import SandboxModel
import ServiceLifecycle

/// The HTTP API: routes on listeners.
///
/// Wiring, in the order of a `ServiceGroup` (the last one shuts down first):
/// ```
/// let store = try SQLiteStore.open(directory: data)
/// let plane = try await ControlPlane.start(
///     configuration: .init(version: version), store: store, node: node, keyFile: data + "/api-key", logger: logger)
/// let metrics = PrometheusMetrics()          // MetricsSystem.bootstrap(metrics), once, before anything counts
/// let server = APIServer(configuration: configuration, controlPlane: plane, metrics: metrics, logger: logger)
/// ServiceGroup(services: [node, plane] + server.services { address in … }, …)
/// ```
package struct APIServer: Sendable {
    let configuration: ServerConfiguration
    let controlPlane: ControlPlane
    let metrics: PrometheusMetrics
    let addresses: PreviewAddresses
    let logger: Logger
    /// One for all listeners: it remembers what its clients do.
    let envd: Envd
    private let samples = MetricHistory()

    package init(
        configuration: ServerConfiguration, controlPlane: ControlPlane, metrics: PrometheusMetrics, logger: Logger
    ) {
        self.configuration = configuration
        self.controlPlane = controlPlane
        self.metrics = metrics
        self.logger = logger
        envd = Envd(controlPlane: controlPlane, heartbeat: configuration.heartbeat)
        addresses = PreviewAddresses(domain: configuration.domain)
    }

    /// One service per listener. Each ends within `configuration.drain` and a moment after graceful shutdown began.
    ///
    /// - Parameter onListening: called once per listener, when it takes connections.
    package func services(
        onListening: @escaping @Sendable (ListeningAddress) async -> Void = { _ in }
    ) -> [any Service] {
        var places: [ListeningAddress] = []
        if let path = configuration.socketPath { places.append(.unix(path: path)) }
        if let host = configuration.host { places.append(.tcp(host: host, port: configuration.port)) }
        return places.map { address in
            Listener(
                address: address, responder: router(for: address).buildResponder(), previews: previews(at: address),
                routing: routing(at: address), drain: configuration.drain, logger: logger
            ) { [addresses] address in
                addresses.listening(at: address)
                await onListening(address)
            }
        }
    }

    private func previews(at address: ListeningAddress) -> Previews {
        let keys: Keys? =
            switch address {
            case .unix: nil
            case .tcp: controlPlane.keys
            }
        return Previews(
            ports: controlPlane.ports, gate: TrafficGate(controlPlane: controlPlane), keys: keys,
            scheme: configuration.domain.scheme, logger: logger)
    }

    private func routing(at address: ListeningAddress) -> PreviewRouting {
        switch address {
        // A page in a browser cannot reach it by any host name.
        case .unix: PreviewRouting(domain: nil)
        case .tcp: PreviewRouting(domain: configuration.domain)
        }
    }

    private func router(for address: ListeningAddress) -> Router<APIContext> {
        switch address {
        case .unix: router(authenticator: .trustsEveryone)
        case .tcp: router(authenticator: .asksForKey(controlPlane.keys))
        }
    }

    /// Every route, under one way of telling who asks.
    func router(authenticator: Authenticator) -> Router<APIContext> {
        let endpoints = endpoints
        let foreign = foreignEndpoints
        let router = Router(context: APIContext.self)
        router.add(middleware: RequestMiddleware(endpoints: endpoints + foreign))
        router.add(middleware: SandboxFrontDoor(envd: envd))
        for endpoint in foreign { add(endpoint, to: router, authenticator: authenticator, isForeign: true) }
        for endpoint in endpoints { add(endpoint, to: router, authenticator: authenticator, isForeign: false) }
        return router
    }

    /// - Parameter isForeign: failures are told in the shape of E2B's API, that of a missing key among them.
    private func add(
        _ endpoint: Endpoint, to router: Router<APIContext>, authenticator: Authenticator, isForeign: Bool
    ) {
        router.on(RouterPath(endpoint.path), method: endpoint.method) { request, context in
            do {
                let caller = endpoint.isOpen ? nil : try authenticator.caller(of: request)
                let call = APICall(
                    request: request, context: context, caller: caller ?? .anonymous, heartbeat: configuration.heartbeat
                )
                return try await endpoint.handler(call)
            } catch let error as MartletError where isForeign {
                return E2BErrors.response(E2BErrors.control(error))
            }
        }
    }

    /// What is offered beside our own API, by another's contract: not in `api/openapi.yaml`.
    var foreignEndpoints: [Endpoint] { e2b.endpoints }

    private var e2b: E2BControl {
        E2BControl(
            controlPlane: controlPlane, samples: samples, allowsInternet: configuration.e2bInternet,
            addresses: addresses)
    }

    /// What the API offers.
    var endpoints: [Endpoint] {
        let routes =
            SandboxRoutes(sandboxes: controlPlane.sandboxes, processes: controlPlane.processes).endpoints
            + ProcessRoutes(processes: controlPlane.processes).endpoints
            + FileRoutes(files: controlPlane.files).endpoints
            + StateRoutes(sandboxes: controlPlane.sandboxes, snapshots: controlPlane.snapshots).endpoints
            + NetworkRoutes(sandboxes: controlPlane.sandboxes).endpoints
            + PortRoutes(ports: controlPlane.ports, addresses: addresses).endpoints
            + SnapshotRoutes(snapshots: controlPlane.snapshots).endpoints
            + TemplateRoutes(templates: controlPlane.templates).endpoints
            + HostRoutes(host: controlPlane.host, metrics: metrics).endpoints
        return routes
            + DocumentRoutes(openAPIPath: configuration.openAPIPath, documented: routes + PortRoutes.served).endpoints
    }
}

extension Caller {
    /// Whom open endpoints are called by; owns nothing and sees nothing.
    static let anonymous = Caller(keyID: "", isAdmin: false)
}
