import BubblewrapEngine
import ContainerEngine
import ControlPlane
import ControlStore
import FirecrackerEngine
import GVisorEngine
import Glibc
import HostNetwork
import ImageStore
import LinuxSystem
import Logging
import MartletClient
import Metrics
import NIOPosix
import Node
import QEMUEngine
import SandboxModel
import Server
import ServiceLifecycle
import Synchronization
import UnixSignals

/// The one place where the parts of the daemon are put together.
struct ServeComposition: Sendable {
    let settings: ServeSettings
    /// The way to the program that started us in the background; nil in the foreground.
    let ready: ReadyChannel?

    /// Serves until told to end.
    func run() async throws {
        let data = settings.data
        let locks = try await Blocking.run { [isChild = ready != nil] in
            try DaemonLocks.take(data, isStartLockInherited: isChild)
        }
        defer { locks.release() }
        let logger = Logger(label: "martlet")
        let metrics = PrometheusMetrics()
        MetricsSystem.bootstrap(metrics)
        try makeDirectories()

        let store = try await Blocking.run { try SQLiteStore.open(directory: data.path) }
        let network = try await openNetwork(logger)
        let node = try makeNode(network, logger)
        try await node.recover()
        let plane = try await ControlPlane.start(
            configuration: planeConfiguration, store: store, node: node, keyFile: data.keyFile,
            accessKeyFile: data.accessKeyFile, logger: logger)
        let configuration = serverConfiguration(logger)
        let announcement = Announcement(data: data, ready: ready, locks: locks, logger: logger)
        let server = APIServer(configuration: configuration, controlPlane: plane, metrics: metrics, logger: logger)

        // The first signal ends the daemon orderly; whoever sends a second one does not want to wait.
        let impatience = Signals([SIGTERM, SIGINT])
        defer { withExtendedLifetime(impatience) {} }
        // Sandboxes' networks first, and so last to go: whatever the others still end has one.
        let networks = (try? network.get()).map { [$0] } ?? []
        var group = ServiceGroupConfiguration(
            services: (networks + [node, plane] + server.services { await announcement.listening(at: $0) }).map {
                .init(service: $0, successTerminationBehavior: .gracefullyShutdownGroup)
            },
            gracefulShutdownSignals: [.sigterm, .sigint, .sighup], logger: logger)
        group.maximumGracefulShutdownDuration = .seconds(30)
        try await ServiceGroup(configuration: group).run()
        unlink(data.daemonFile)
        logger.notice("daemon ended", metadata: ["sandboxes": settings.stopsSandboxes ? "ended" : "go on"])
    }

    private var planeConfiguration: ControlPlaneConfiguration {
        var configuration = ControlPlaneConfiguration(version: MartletVersion.number)
        configuration.defaultNetwork = NetworkPolicy(mode: settings.network.defaultMode)
        configuration.buildFilesDirectory = settings.data.uploads
        configuration.secretVariables = settings.network.secretVariables
        return configuration
    }

    private func makeDirectories() throws {
        let data = settings.data
        for path in [data.node, data.qemu, data.network] where mkdir(path, 0o700) != 0 && errno != EEXIST {
            throw MartletError(.failedPrecondition, "data directory: \(path): \(String(cString: strerror(errno)))")
        }
    }

    /// Prepares the sandboxes' networks, or finds out why there can be none here.
    ///
    /// - Throws: what is wrong with the settings, rather than with the host.
    private func openNetwork(_ logger: Logger) async throws -> Result<HostNetwork, MartletError> {
        guard settings.network.isEnabled else {
            return .failure(MartletError(.unsupported, "network: the daemon was started with --no-network"))
        }
        do {
            return .success(
                try await HostNetwork.open(
                    settings.network.configuration(directory: settings.data.network), logger: logger,
                    group: MultiThreadedEventLoopGroup.singleton))
        } catch let error as MartletError where error.code == .unsupported {
            logger.warning("sandboxes have no network", metadata: ["reason": "\(error.message)"])
            if settings.network.defaultMode != .none {
                logger.warning("sandboxes that do not ask for network mode none cannot be made")
            }
            return .failure(error)
        }
    }

    private func makeNode(_ network: Result<HostNetwork, MartletError>, _ logger: Logger) throws -> Node {
        let images = try ImageStore(
            directory: settings.images, templatesDirectory: settings.templates,
            guestAgent: settings.installation.guestAgent, logger: logger)
        if settings.allowsNoJail {
            logger.warning(
                "sandboxes' QEMU runs UNJAILED: whoever breaks out of one has all that this daemon's user has",
                metadata: ["user": "\(geteuid())", "option": "--insecure-no-jail"])
        }
        let engine = QEMUEngine(
            configuration: .init(
                directory: settings.data.qemu, allowsKVM: settings.allowsKVM,
                jail: settings.allowsNoJail
                    ? nil : .init(jailer: settings.installation.jailer, dataDirectory: settings.data.path)),
            logger: logger, group: MultiThreadedEventLoopGroup.singleton)
        let firecracker = FirecrackerEngine(
            configuration: .init(
                directory: settings.data.firecracker, groups: settings.data.firecrackerGroups,
                allowsKVM: settings.allowsKVM),
            logger: logger, group: MultiThreadedEventLoopGroup.singleton)
        let containers = ContainerHost(
            configuration: .init(
                directory: settings.data.containers, groups: settings.data.containerGroups,
                agent: settings.installation.guestAgent),
            logger: logger, group: MultiThreadedEventLoopGroup.singleton)
        var configuration = NodeConfiguration(
            directory: settings.data.node, maxSandboxes: settings.maxSandboxes,
            pool: PoolConfiguration(
                isEnabled: settings.poolEnabled, shells: settings.poolShells, warm: settings.poolWarm),
            stopsSandboxesOnShutdown: settings.stopsSandboxes)
        configuration.defaultIsolation = settings.isolation.preferred
        configuration.minimumIsolation = settings.isolation.minimum
        return try Node(
            configuration: configuration,
            engines: [
                engine, firecracker, GVisorEngine(host: containers), BubblewrapEngine(host: containers),
            ], images: images, network: network, logger: logger)
    }

    private func serverConfiguration(_ logger: Logger) -> ServerConfiguration {
        var configuration = ServerConfiguration()
        configuration.host = settings.host
        configuration.port = settings.port
        configuration.socketPath = settings.data.socket
        configuration.domain = settings.domain
        configuration.e2bInternet = settings.e2bInternet
        configuration.openAPIPath = settings.installation.root.map { $0 + "/api/openapi.yaml" }
        if !settings.isAddressGiven, !LoopbackPort.isFree(settings.port) {
            // Nobody asked for this very port, and the unix socket is what the command line uses anyway.
            logger.warning("the default port is taken; taking a free one", metadata: ["port": "\(settings.port)"])
            configuration.port = 0
        }
        if !ServeSettings.isLoopback(settings.host) {
            logger.warning(
                "other machines can reach the API; put TLS in front of it", metadata: ["host": "\(settings.host)"])
        }
        return configuration
    }
}

/// Tells who waits for the daemon that it is there, once it listens everywhere it should.
private final class Announcement: Sendable {
    private let data: DataDirectory
    private let ready: ReadyChannel?
    private let locks: DaemonLocks
    private let logger: Logger
    private let heard = Mutex<(url: String?, socket: Bool)>((nil, false))

    init(data: DataDirectory, ready: ReadyChannel?, locks: DaemonLocks, logger: Logger) {
        self.data = data
        self.ready = ready
        self.locks = locks
        self.logger = logger
    }

    func listening(at address: ListeningAddress) async {
        let url: String? = heard.withLock { heard in
            switch address {
            case .tcp(let host, let port):
                heard.url = "http://\(host.contains(":") ? "[\(host)]" : host):\(port)"
            case .unix: heard.socket = true
            }
            return heard.socket ? heard.url : nil
        }
        guard let url else { return }
        do {
            try DaemonFile(pid: getpid(), url: url, version: MartletVersion.number).write(data)
        } catch {
            logger.error("could not tell where the daemon listens", metadata: ["error": "\(error)"])
        }
        logger.notice(
            "daemon ready",
            metadata: ["url": "\(url)", "socket": "\(data.socket)", "key": "\(data.keyFile)", "pid": "\(getpid())"])
        locks.started()
        ready?.ready()
    }
}
