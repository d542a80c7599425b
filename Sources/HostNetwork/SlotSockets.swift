import LinuxSystem
import SandboxModel

/// Sockets of a slot, bound inside its namespace; whoever takes them owns them. All are non-blocking.
package struct SlotSockets: Sendable {
    /// `GuestNetwork.gateway`, port 53.
    package var dnsUDP: Descriptor
    /// `GuestNetwork.gateway`, port 53, listening.
    package var dnsTCP: Descriptor
    /// `GuestNetwork.gateway`, port 15001, listening: connections that names decide over arrive here, whatever they were
    /// meant for (SO_ORIGINAL_DST tells).
    package var proxyTCP: Descriptor

    package init(dnsUDP: Descriptor, dnsTCP: Descriptor, proxyTCP: Descriptor) {
        self.dnsUDP = dnsUDP
        self.dnsTCP = dnsTCP
        self.proxyTCP = proxyTCP
    }
}

/// Opens connections from inside a slot's namespace, marked as the daemon's, which alone may talk from there.
package protocol SlotConnector: Sendable {
    /// A connected non-blocking TCP socket; the caller owns it. Cancellable.
    ///
    /// - Throws: `SystemError` with the kernel's reason: ECONNREFUSED, EHOSTUNREACH, ETIMEDOUT and others.
    func connect(to address: IPv4Address, port: UInt16, timeout: Duration) async throws -> Descriptor

    /// An unconnected non-blocking UDP socket, for name servers that a policy names; the caller owns it.
    func datagramSocket() async throws -> Descriptor
}
