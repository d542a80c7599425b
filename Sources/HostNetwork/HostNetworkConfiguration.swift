import LinuxSystem
import SandboxModel

/// What the operator sets about the networks of one host's sandboxes.
package struct HostNetworkConfiguration: Sendable {
    /// Where the daemon remembers which subnet is its own; one daemon's.
    package var directory: String
    /// The /16 that slots take their /30s from; nil takes the first of 10.201.0.0/16 to 10.231.0.0/16 that is free.
    package var subnet: IPv4Prefix?
    /// Blocked addresses that sandboxes may reach all the same, where their policy says so. No host rules.
    package var opened: [NetworkRule]
    /// Who is asked for names; empty takes the host's own (`/etc/resolv.conf`).
    package var nameServers: [IPv4Address]
    /// Whether sandboxes go out under the host's address; false where the subnet is routed to this host.
    package var translates: Bool
    /// Slots kept ready.
    package var pooledSlots: Int
    /// A PEM file of authorities trusted for hosts with secrets, besides the system's.
    package var extraTrustRoots: String?
    /// Where daemons of this machine tell each other which subnets they have.
    package var claims: String
    /// The namespace that slots are linked to; nil is the one of the thread that opens the network.
    package var hostNamespace: Descriptor?

    package init(
        directory: String, subnet: IPv4Prefix? = nil, opened: [NetworkRule] = [], nameServers: [IPv4Address] = [],
        translates: Bool = true, pooledSlots: Int = 16, extraTrustRoots: String? = nil,
        claims: String = "/run/martlet", hostNamespace: Descriptor? = nil
    ) {
        self.directory = directory
        self.subnet = subnet
        self.opened = opened
        self.nameServers = nameServers
        self.translates = translates
        self.pooledSlots = pooledSlots
        self.extraTrustRoots = extraTrustRoots
        self.claims = claims
        self.hostNamespace = hostNamespace
    }
}
