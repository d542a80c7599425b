import LinuxSystem
import SandboxModel

/// One sandbox's network: a namespace with a tap for its machine on one side and a way out on the other.
package final class NetworkSlot: Sendable {
    package let index: Int
    /// The sandbox's address outside its namespace.
    package let address: IPv4Address
    /// The namespace; a machine's process is to live in it. Owned by the slot.
    package let namespace: Descriptor

    init(index: Int, address: IPv4Address, namespace: Descriptor) {
        self.index = index
        self.address = address
        self.namespace = namespace
    }

    /// Opens the tap for the one machine of this slot; the caller owns the descriptor.
    package func openTap() async throws -> Descriptor {
        throw MartletError(.unsupported, "network: not built yet")
    }

    /// Puts a policy in force, at once and as a whole; connections that it does not allow end.
    ///
    /// - Parameter onDenial: told of what is refused, a bounded number a second; called from any thread, must not block.
    package func apply(
        _ network: SandboxNetwork, onDenial: @escaping @Sendable (NetworkDenial) -> Void
    ) async throws {
        throw MartletError(.unsupported, "network: not built yet")
    }

    package func counters() async throws -> NetworkCounters { NetworkCounters() }
}
