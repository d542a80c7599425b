import LinuxSystem
import Logging
import NIOCore
import SandboxModel
import ServiceLifecycle

/// The networks of one host's sandboxes: slots, each a network namespace with its own address.
///
/// Call `open`, then `adopt` for each sandbox that still runs, then `recovered` once, and keep `run()` running.
package actor HostNetwork: Service {
    /// Prepares the host: takes a subnet, sets up forwarding and the host's own rules.
    ///
    /// - Throws: `unsupported` naming the kernel feature, permission or program that is missing; `failed_precondition`
    ///   when the subnet is in use.
    package static func open(
        _ configuration: HostNetworkConfiguration, logger: Logger, group: any EventLoopGroup
    ) async throws -> HostNetwork {
        throw MartletError(.unsupported, "network: not built yet")
    }

    private init() {}

    /// A slot that nobody else has, closed as yet: one that is ready, else one made now.
    ///
    /// - Throws: `resource_exhausted` when all slots are taken.
    package func lease() async throws -> NetworkSlot {
        throw MartletError(.unsupported, "network: not built yet")
    }

    /// Takes over the slot of a machine that an earlier daemon has left: `process` lives in its namespace. Packet rules
    /// stay as they are until `apply`.
    package func adopt(index: Int, process: Int32) async throws -> NetworkSlot {
        throw MartletError(.unsupported, "network: not built yet")
    }

    /// Says that every slot still in use is adopted: what else an earlier daemon left is removed.
    package func recovered() async {}

    /// Takes a slot back; its namespace is not used again. Idempotent.
    package func release(_ slot: NetworkSlot) async {}

    /// Keeps slots ready until the service group shuts down.
    package func run() async throws {}

    /// What there is.
    package func report() async -> HostNetworkReport {
        HostNetworkReport(subnet: IPv4Prefix(IPv4Address(bits: 0), length: 0), capacity: 0, used: 0, ready: 0)
    }
}

/// The network of one host in numbers.
package struct HostNetworkReport: Sendable {
    package var subnet: IPv4Prefix
    /// Slots there can be at once.
    package var capacity: Int
    package var used: Int
    package var ready: Int

    package init(subnet: IPv4Prefix, capacity: Int, used: Int, ready: Int) {
        self.subnet = subnet
        self.capacity = capacity
        self.used = used
        self.ready = ready
    }
}
