import Glibc
import LinuxSystem
import Logging
import NIOCore
import NIOPosix
import SandboxModel
import Synchronization

@testable import HostNetwork

typealias IPv4 = SandboxModel.IPv4Address

extension SandboxModel.IPv4Address {
    /// An address known to be one.
    init(_ text: String) { self = SandboxModel.IPv4Address(text[...])! }
}

/// A slot's name service and proxy on loopback, between real clients and real servers. Where connections go is said per
/// connection instead of by connection tracking, and addresses of the world lead to ports of loopback.
final class ProxyRig: Sendable {
    let proxy: SlotProxy
    let world: TestWorld
    let nameServer: TestNameServer
    let proxyPort: Int
    let dnsPort: Int
    let dnsStreamPort: Int

    private init(proxy: SlotProxy, world: TestWorld, nameServer: TestNameServer, ports: (Int, Int, Int)) {
        self.proxy = proxy
        self.world = world
        self.nameServer = nameServer
        (proxyPort, dnsPort, dnsStreamPort) = ports
    }

    static func with(
        _ network: SandboxNetwork, trust: UpstreamTrust? = nil, _ body: (ProxyRig) async throws -> Void
    ) async throws {
        let world = TestWorld()
        let nameServer = try await TestNameServer.start()
        // Everybody's: one of its own would have to be shut down, which waits for a turn of Dispatch's pool, seconds at
        // times while other tests hold its few threads.
        let group = MultiThreadedEventLoopGroup.singleton
        let sockets = SlotSockets(
            dnsUDP: try loopbackSocket(SOCK_DGRAM), dnsTCP: try loopbackSocket(SOCK_STREAM),
            proxyTCP: try loopbackSocket(SOCK_STREAM))
        let ports = (
            try localPort(sockets.proxyTCP), try localPort(sockets.dnsUDP), try localPort(sockets.dnsTCP)
        )
        let environment = ProxyEnvironment(
            group: group, nameServers: [IPv4(127, 0, 0, 1)], isBlocked: { world.isBlocked($0, $1) },
            trust: try trust ?? UpstreamTrust.load(), logger: Logger(label: "test"),
            nameServerPort: UInt16(nameServer.port))
        let proxy = try await SlotProxy.start(
            sockets: sockets, connector: world, environment: environment,
            originalDestination: OriginalDestination { world.destination(of: $0) }, onDenial: { world.note($0) })
        let rig = ProxyRig(proxy: proxy, world: world, nameServer: nameServer, ports: ports)
        do {
            try await proxy.apply(network)
            try await body(rig)
        } catch {
            await rig.stop()
            throw error
        }
        await rig.stop()
    }

    private func stop() async {
        await proxy.stop()
        await nameServer.stop()
    }

    /// Connects as the guest would: to an address of the world.
    func connect(_ address: String, _ port: UInt16) async throws -> Peer {
        let peer = try await Peer.connect(port: proxyPort)
        world.lead(peer.channel.localAddress!.port!, to: Destination(address: IPv4(address), port: port))
        return peer
    }

    /// Looks a name up as the guest would.
    func lookUp(_ name: String, type: UInt16 = DNSType.a) async throws -> DNSResponse {
        try await DNSClient.ask(port: dnsPort, name: name, type: type)
    }

    /// Gives a name an address, where a server of loopback stands for it, and looks it up.
    func place(_ name: String, _ address: String, ports: [UInt16: Int] = [:]) async throws {
        nameServer.set(name, TestNameServer.Entry(addresses: [address]))
        for (port, local) in ports { world.map(address, port, to: local) }
        _ = try await lookUp(name)
    }

    // MARK: Sockets

    static func loopbackSocket(_ type: __socket_type) throws -> Descriptor {
        let flags = Int32(type.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
        let descriptor = Descriptor(owning: Glibc.socket(AF_INET, flags, 0))
        let address = try SocketAddress(ipAddress: "127.0.0.1", port: 0)
        let bound = address.withSockAddr { Glibc.bind(descriptor.number, $0, socklen_t($1)) }
        guard bound == 0, type == SOCK_DGRAM || Glibc.listen(descriptor.number, 1024) == 0 else {
            throw SystemError("bind", "loopback", errno: errno)
        }
        return descriptor
    }

    static func localPort(_ descriptor: Descriptor) throws -> Int {
        var bytes = [UInt8](repeating: 0, count: 16)
        var size = socklen_t(16)
        let result = bytes.withUnsafeMutableBytes { buffer in
            buffer.withMemoryRebound(to: sockaddr.self) { getsockname(descriptor.number, $0.baseAddress!, &size) }
        }
        guard result == 0 else { throw SystemError("getsockname", "loopback", errno: errno) }
        return Int(bytes[2]) << 8 | Int(bytes[3])
    }
}

/// The world outside a slot: which addresses there are, and which are out of reach; and what was refused.
final class TestWorld: SlotConnector {
    private struct State {
        var ports: [Destination: Int] = [:]
        var destinations: [Int: Destination] = [:]
        var waiting: [Int: EventLoopPromise<Destination>] = [:]
        var connected: [Destination] = []
        var datagramSockets = 0
        var denials: [NetworkDenial] = []
        var opened: Set<IPv4> = []
    }

    private let state = Mutex(State())

    var connected: [Destination] { state.withLock { $0.connected } }
    var denials: [NetworkDenial] { state.withLock { $0.denials } }
    var datagramSockets: Int { state.withLock { $0.datagramSockets } }
    /// The rules that refused something, and what.
    var refusals: [String] { denials.map { "\($0.rule) \($0.name ?? "-")" } }

    func map(_ address: String, _ port: UInt16, to local: Int) {
        state.withLock { $0.ports[Destination(address: IPv4(address), port: port)] = local }
    }

    func open(_ address: String) { state.withLock { _ = $0.opened.insert(IPv4(address)) } }

    func note(_ denial: NetworkDenial) { state.withLock { $0.denials.append(denial) } }

    func isBlocked(_ address: IPv4, _ port: UInt16?) -> Bool {
        if state.withLock({ $0.opened.contains(address) }) { return false }
        return SpecialAddresses.blocked.contains { $0.contains(address) }
    }

    func lead(_ source: Int, to destination: Destination) {
        let waiting = state.withLock { state in
            state.destinations[source] = destination
            return state.waiting.removeValue(forKey: source)
        }
        waiting?.succeed(destination)
    }

    func destination(of channel: any Channel) -> EventLoopFuture<Destination> {
        guard let source = channel.remoteAddress?.port else {
            return channel.eventLoop.makeFailedFuture(ChannelError.operationUnsupported)
        }
        let promise = channel.eventLoop.makePromise(of: Destination.self)
        let known = state.withLock { state in
            let known = state.destinations.removeValue(forKey: source)
            if known == nil { state.waiting[source] = promise }
            return known
        }
        if let known { promise.succeed(known) }
        return promise.futureResult
    }

    func connect(to address: IPv4, port: UInt16, timeout: Duration) async throws -> Descriptor {
        let destination = Destination(address: address, port: port)
        let local = state.withLock { state in
            state.connected.append(destination)
            return state.ports[destination]
        }
        guard let local else { throw SystemError("connect", "\(destination)", errno: ECONNREFUSED) }
        // Loopback answers at once.
        let flags = Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
        let descriptor = Descriptor(owning: Glibc.socket(AF_INET, flags, 0))
        let target = try SocketAddress(ipAddress: "127.0.0.1", port: local)
        let result = target.withSockAddr { Glibc.connect(descriptor.number, $0, socklen_t($1)) }
        guard result == 0 else { throw SystemError("connect", "\(destination)", errno: errno) }
        try descriptor.setNonBlocking()
        return descriptor
    }

    func datagramSocket() async throws -> Descriptor {
        state.withLock { $0.datagramSockets += 1 }
        let flags = Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue)
        return Descriptor(owning: Glibc.socket(AF_INET, flags, 0))
    }
}
