import ControlStore
import Logging
import Node
import SandboxModel
import ServiceLifecycle

/// What clients can ask for, one member per subject, and the work that goes on by itself: ending sandboxes in time,
/// following the node, building templates, writing events.
///
/// `start` first, then `run` as a service for as long as requests come.
package final class ControlPlane: Service {
    package let sandboxes: Sandboxes
    package let processes: Processes
    package let files: Files
    package let ports: Ports
    package let events: Events
    package let snapshots: Snapshots
    package let templates: Templates
    package let host: Host
    package let keys: Keys
    package let accessTokens: AccessTokens
    private let reaper: Reaper
    private let maintenance: Maintenance
    private let node: any NodeService
    private let logger: Logger

    /// Builds the control plane and makes its record agree with what the node really runs.
    ///
    /// - Parameters:
    ///   - keyFile: where the first start leaves its API key; nil makes none.
    ///   - accessKeyFile: what the tokens of sandboxes are made with; nil for a key that ends with this value.
    /// - Throws: what the store throws.
    package static func start(
        configuration: ControlPlaneConfiguration, store: any DurableStore, node: any NodeService, keyFile: String?,
        accessKeyFile: String? = nil, logger: Logger
    ) async throws -> ControlPlane {
        let accessTokens = try accessKeyFile.map { try AccessTokens(keyFile: $0) } ?? AccessTokens()
        let keys = try await Keys.load(store: store)
        if let keyFile, try await keys.ensureKeyFile(at: keyFile) {
            logger.notice("API key made", metadata: ["path": "\(keyFile)"])
        }
        let index = SandboxIndex()
        let shelf = SnapshotShelf(sandboxes: index, store: store, node: node, logger: logger)
        let events = Events(store: store, logger: logger)
        let networks = Networks(configuration: configuration, store: store)
        let reconciliation = Reconciliation(
            configuration: configuration, store: store, node: node, index: index, shelf: shelf, networks: networks,
            events: events, logger: logger)
        try await reconciliation.run()
        let templates = TemplateIndex()
        templates.load(try await node.templates())
        let files = try BuildFiles(directory: configuration.buildFilesDirectory)
        let plane = ControlPlane(
            configuration: configuration, store: store, node: node, keys: keys, accessTokens: accessTokens,
            index: index, shelf: shelf, networks: networks, templates: (templates, files), events: events,
            logger: logger)
        try await plane.ports.load()
        await plane.sandboxes.traffic.adopt()
        return plane
    }

    private init(
        configuration: ControlPlaneConfiguration, store: any DurableStore, node: any NodeService, keys: Keys,
        accessTokens: AccessTokens, index: SandboxIndex, shelf: SnapshotShelf, networks: Networks,
        templates: (index: TemplateIndex, files: BuildFiles), events: Events, logger: Logger
    ) {
        self.node = node
        self.keys = keys
        self.accessTokens = accessTokens
        self.events = events
        self.logger = logger
        sandboxes = Sandboxes(
            configuration: configuration, store: store, node: node, index: index, shelf: shelf,
            networks: networks, templates: templates.index, events: events, logger: logger)
        snapshots = Snapshots(sandboxes: sandboxes, events: events, logger: logger)
        processes = Processes(sandboxes: sandboxes, events: events)
        files = Files(sandboxes: sandboxes)
        ports = Ports(sandboxes: sandboxes, events: events)
        self.templates = Templates(
            node: node, index: templates.index, files: templates.files,
            maxTemplatesPerKey: configuration.maxTemplatesPerKey, logger: logger)
        host = Host(node: node, index: index, traffic: sandboxes.traffic, configuration: configuration)
        reaper = Reaper(sandboxes: sandboxes, index: index, logger: logger)
        maintenance = Maintenance(
            configuration: configuration, store: store, shelf: shelf, builds: self.templates.builds, logger: logger)
    }

    /// Works until graceful shutdown; sandboxes go on running without it.
    package func run() async throws {
        await cancelWhenGracefulShutdown {
            await withDiscardingTaskGroup { group in
                group.addTask { await self.followNode() }
                group.addTask { await self.followDenials() }
                group.addTask { await self.reaper.run() }
                group.addTask { await self.events.run() }
                group.addTask { await self.sandboxes.denials.run() }
                group.addTask { await self.templates.run() }
                group.addTask { await self.maintenance.run() }
            }
        }
        await events.drain()
    }

    private func followDenials() async {
        for await event in node.denials { sandboxes.denials.note(event.sandbox, event.denial) }
    }

    private func followNode() async {
        await withDiscardingTaskGroup { group in
            for await event in node.events {
                switch event {
                case .ended(let id, let reason):
                    group.addTask { await self.sandboxes.ended(id, reason: reason) }
                }
            }
        }
    }
}
