import LinuxSystem
import Logging
import NIOCore
import NIOPosix
import SandboxModel

/// Decides by names what one sandbox reaches: its name service and its transparent proxy.
///
/// Everything of one slot lives on one event loop, so that a policy is put in force between two events and never in the
/// midst of one.
package final class SlotProxy: Sendable {
    private let core: NIOLoopBound<ProxyCore>
    private let loop: any EventLoop

    private init(core: NIOLoopBound<ProxyCore>, loop: any EventLoop) {
        self.core = core
        self.loop = loop
    }

    /// Takes the sockets over and serves them, with everything refused until `apply`.
    ///
    /// - Parameter onDenial: told of each refusal, a bounded number a second, on an event loop; must not block.
    package static func start(
        sockets: SlotSockets, connector: any SlotConnector, environment: ProxyEnvironment,
        onDenial: @escaping @Sendable (NetworkDenial) -> Void
    ) async throws -> SlotProxy {
        try await start(
            sockets: sockets, connector: connector, environment: environment, originalDestination: .kernel,
            onDenial: onDenial)
    }

    /// - Parameter originalDestination: tells where connections were meant to go.
    static func start(
        sockets: SlotSockets, connector: any SlotConnector, environment: ProxyEnvironment,
        originalDestination: OriginalDestination, onDenial: @escaping @Sendable (NetworkDenial) -> Void
    ) async throws -> SlotProxy {
        let loop = environment.group.next()
        let core = try await loop.submit {
            NIOLoopBound(
                ProxyCore(
                    loop: loop, environment: environment, connector: connector,
                    originalDestination: originalDestination, onDenial: onDenial),
                eventLoop: loop)
        }.get()
        let proxy = SlotProxy(core: core, loop: loop)
        do {
            for listener in [
                try await datagrams(sockets, core, loop), try await lookups(sockets, core, loop),
                try await connections(sockets, core, loop),
            ] {
                try await loop.submit { core.value.jobs.own(listener) }.get()
            }
        } catch {
            await proxy.stop()
            throw error
        }
        return proxy
    }

    /// Puts a policy and its secrets in force; connections that it does not allow end at once.
    ///
    /// - Throws: `internal` when the authority's key or certificate cannot be read; everything is refused then.
    package func apply(_ network: SandboxNetwork) async throws(MartletError) {
        let core = core
        do {
            // Read and sorted out here, so that no connection waits for it.
            let rules = EgressRules(network)
            let issuer = try network.authority.map { authority throws(MartletError) in try LeafIssuer(authority) }
            try await loop.submit { core.value.apply(rules, issuer: issuer) }.get()
        } catch let error as MartletError {
            try? await loop.submit { core.value.apply(EgressRules(.closed), issuer: nil) }.get()
            throw error
        } catch {
            throw MartletError(.unavailable, "network: the event loop of a slot is gone: \(error)")
        }
    }

    /// Closes the sockets and every connection; returns when nothing is left. Idempotent.
    package func stop() async {
        let core = core
        // Fails only when the event loop is gone, and everything on it.
        try? await loop.flatSubmit { core.value.jobs.stop() }.get()
    }

    // MARK: Listeners

    private static func datagrams(
        _ sockets: SlotSockets, _ core: NIOLoopBound<ProxyCore>, _ loop: any EventLoop
    ) async throws -> any Channel {
        try await DatagramBootstrap(group: loop)
            .channelOption(.recvAllocator, value: FixedSizeRecvByteBufferAllocator(capacity: 4096))
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(NameServiceDatagrams(names: core.value.names))
                }
            }
            .withBoundSocket(sockets.dnsUDP.release()).get()
    }

    private static func lookups(
        _ sockets: SlotSockets, _ core: NIOLoopBound<ProxyCore>, _ loop: any EventLoop
    ) async throws -> any Channel {
        try await ServerBootstrap(group: loop)
            .childChannelOption(.autoRead, value: false)
            .childChannelOption(.maxMessagesPerRead, value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try core.value.acceptLookups(channel) }
            }
            .withBoundSocket(sockets.dnsTCP.release()).get()
    }

    private static func connections(
        _ sockets: SlotSockets, _ core: NIOLoopBound<ProxyCore>, _ loop: any EventLoop
    ) async throws -> any Channel {
        try await ServerBootstrap(group: loop)
            .childChannelOption(.autoRead, value: false)
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .childChannelOption(.socketOption(.so_keepalive), value: 1)
            .childChannelOption(.maxMessagesPerRead, value: ProxyCore.messagesPerRead)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try core.value.accept(channel) }
            }
            .withBoundSocket(sockets.proxyTCP.release()).get()
    }
}
