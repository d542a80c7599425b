import LinuxSystem
import SandboxModel
import Synchronization

/// Opens sockets inside one slot's namespace, for as long as the slot is held.
final class NamespaceConnector: SlotConnector {
    private let thread: NetworkThread
    private let watcher: SocketWatcher
    private let namespace: Mutex<Descriptor?>

    init(thread: NetworkThread, watcher: SocketWatcher, namespace: Descriptor) {
        self.thread = thread
        self.watcher = watcher
        self.namespace = Mutex(namespace)
    }

    /// No socket is opened from now on.
    func close() { namespace.withLock { $0 = nil } }

    func connect(to address: IPv4Address, port: UInt16, timeout: Duration) async throws -> Descriptor {
        let (socket, isConnected) = try await thread.run(in: place(), .handOut) {
            try InetSocket.connecting(to: address.bits, port, mark: SlotRules.daemonMark)
        }
        if !isConnected {
            try await watcher.waitUntilWritable(socket, timeout: timeout)
            try InetSocket.check(socket)
        }
        return socket
    }

    func datagramSocket() async throws -> Descriptor {
        try await thread.run(in: place(), .handOut) { try InetSocket.datagrams(mark: SlotRules.daemonMark) }
    }

    /// The sockets that names are decided on.
    func sockets() async throws -> SlotSockets {
        try await thread.run(in: place(), .handOut) {
            let gateway = GuestNetwork.gateway.bits
            return SlotSockets(
                dnsUDP: try InetSocket.datagrams(gateway, SlotRules.namePort),
                dnsTCP: try InetSocket.listening(gateway, SlotRules.namePort),
                proxyTCP: try InetSocket.listening(gateway, SlotRules.proxyPort))
        }
    }

    private func place() throws -> Descriptor {
        guard let namespace = namespace.withLock({ $0 }) else {
            throw MartletError(.failedPrecondition, "network: the slot was given back")
        }
        return namespace
    }
}
