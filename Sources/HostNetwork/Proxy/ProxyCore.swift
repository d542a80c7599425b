import LinuxSystem
import Logging
import NIOCore
import NIOPosix
import SandboxModel

/// All that one slot's name service and proxy share. Lives on its event loop only.
final class ProxyCore {
    /// Refusals told of in a second, and at once; whoever collects them makes one of those that are the same.
    static let denialRate: Int64 = 1000
    static let denialBurst: Int64 = 2000
    /// Bytes held for peers that do not take them, all connections together, before some are cut off. Back-pressure
    /// keeps it near zero; only what the kernel has received when a peer ends its side comes at once.
    static let maxHeldBytes = 64 << 20
    static let connectTimeout = Duration.seconds(10)

    let loop: any EventLoop
    let jobs: LoopJobs
    let environment: ProxyEnvironment
    let connector: any SlotConnector
    let resolver: NameResolver
    private let originalDestination: OriginalDestination
    private let onDenial: @Sendable (NetworkDenial) -> Void
    private let hostServers: NameServerClient.Servers

    private(set) var rules = EgressRules(.closed)
    private(set) var issuer: LeafIssuer?
    var pins = PinTable()
    var heldBytes = 0
    private(set) lazy var names = NameService(core: self)
    private var flows: [ObjectIdentifier: ProxyFlow] = [:]
    private var lookupConnections = 0
    private var denials: TokenBucket

    init(
        loop: any EventLoop, environment: ProxyEnvironment, connector: any SlotConnector,
        originalDestination: OriginalDestination, onDenial: @escaping @Sendable (NetworkDenial) -> Void
    ) {
        self.loop = loop
        self.environment = environment
        self.connector = connector
        self.originalDestination = originalDestination
        self.onDenial = onDenial
        jobs = LoopJobs(loop: loop)
        hostServers = NameServerClient.Servers(
            addresses: environment.nameServers, port: environment.nameServerPort, route: .host)
        resolver = NameResolver(loop: loop, jobs: jobs, servers: hostServers)
        denials = TokenBucket(perSecond: ProxyCore.denialRate, burst: ProxyCore.denialBurst, now: .now())
    }

    // MARK: Policy

    /// Puts other rules in force; ends what they do not allow.
    func apply(_ rules: EgressRules, issuer: LeafIssuer?) {
        let before = self.rules
        self.rules = rules
        if rules.network.authority != before.network.authority { self.issuer = issuer }
        if rules.policy.dns != before.policy.dns {
            resolver.replace(
                rules.policy.dns.map {
                    NameServerClient.Servers(
                        addresses: $0.servers, port: environment.nameServerPort, route: .slot(connector))
                } ?? hostServers)
            // What other servers said of a name binds nobody any more.
            pins = PinTable()
        } else {
            pins.removeAll { !rules.mayLookUp($0) }
        }
        for flow in Array(flows.values) { flow.rulesChanged(from: before) }
    }

    func gate(_ destination: Destination) -> EgressRules.Gate {
        rules.gate(destination, isBlocked: environment.isBlocked)
    }

    func deny(
        _ kind: NetworkDenial.Kind, _ rule: RefusalRule, transport: String, name: String?, address: IPv4Address?,
        port: UInt16?
    ) {
        guard denials.take(now: .now()) else { return }
        onDenial(
            NetworkDenial(
                time: Timestamp(milliseconds: Clocks.realtimeMilliseconds), kind: kind, rule: rule.rawValue,
                transport: transport,
                name: name.map { String($0.prefix(255)) }, address: address?.description, port: port))
    }

    // MARK: Connections

    var connectionCount: Int { flows.count }

    /// Takes a connection of the guest's on; called before it is active.
    func accept(_ channel: any Channel) throws {
        let flow = ProxyFlow(core: self, guest: channel)
        let token = ObjectIdentifier(flow)
        flows[token] = flow
        jobs.own(channel)
        try channel.syncOptions?.setOption(.recvAllocator, value: receiveAllocator)
        try channel.syncOptions?.setOption(.writeBufferWaterMark, value: waterMark)
        channel.closeFuture.assumeIsolated().whenComplete { _ in
            flow.guestClosed()
            self.flows[token] = nil
        }
        try channel.pipeline.syncOperations.addHandlers([DrainHandler(), OpeningHandler(flow: flow)])
    }

    /// Takes a connection to the name service on.
    func acceptLookups(_ channel: any Channel) throws {
        guard lookupConnections < NameServiceStream.maxConnections else {
            deny(.lookup, .connectionLimit, transport: "tcp", name: nil, address: nil, port: nil)
            throw ChannelError.operationUnsupported
        }
        lookupConnections += 1
        jobs.own(channel)
        channel.closeFuture.assumeIsolated().whenComplete { _ in self.lookupConnections -= 1 }
        try channel.pipeline.syncOperations.addHandler(NameServiceStream(names: names))
    }

    func destination(of channel: any Channel) -> EventLoopFuture<Destination> { originalDestination.of(channel) }

    /// Opens a connection from inside the slot; nothing is read from it before someone asks.
    ///
    /// - Parameter halfClosure: whether the other side may end its direction and go on listening.
    func connect(to destination: Destination, halfClosure: Bool) -> EventLoopFuture<any Channel> {
        let connector = connector
        let opened = jobs.run {
            try await connector.connect(
                to: destination.address, port: destination.port, timeout: ProxyCore.connectTimeout)
        }
        return opened.assumeIsolated().flatMap { descriptor in
            ClientBootstrap(group: self.loop)
                .channelOption(.autoRead, value: false)
                .channelOption(.allowRemoteHalfClosure, value: halfClosure)
                .channelOption(.tcpOption(.tcp_nodelay), value: 1)
                .channelOption(.socketOption(.so_keepalive), value: 1)
                .channelOption(.maxMessagesPerRead, value: ProxyCore.messagesPerRead)
                .channelOption(.recvAllocator, value: self.receiveAllocator)
                .channelOption(.writeBufferWaterMark, value: self.waterMark)
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.addHandler(DrainHandler())
                    }
                }
                .withConnectedSocket(descriptor.release())
                .assumeIsolated().map { channel in
                    self.jobs.own(channel)
                    return channel
                }.nonisolated()
        }.nonisolated()
    }

    static let messagesPerRead: UInt = 2

    /// Buffers of connections shrink when there are many of them, so that all together stay within what one sandbox may
    /// take: 1,024 stalled ones hold about 100 MiB.
    private var areMany: Bool { flows.count > 256 }

    var receiveAllocator: AdaptiveRecvByteBufferAllocator {
        AdaptiveRecvByteBufferAllocator(minimum: 1024, initial: 4096, maximum: areMany ? 8192 : 131_072)
    }

    var waterMark: ChannelOptions.Types.WriteBufferWaterMark {
        areMany ? .init(low: 4096, high: 16_384) : .init(low: 65_536, high: 262_144)
    }
}
