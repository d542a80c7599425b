import Logging
import NIOCore
import SandboxModel

/// What the proxies of all slots of one host share.
package struct ProxyEnvironment: Sendable {
    /// The event loops; each slot stays on one of them.
    package var group: any EventLoopGroup
    /// Who is asked for names where a policy names no servers.
    package var nameServers: [IPv4Address]
    /// Whether an address is out of every sandbox's reach: on this port, or with nil on all ports.
    package var isBlocked: @Sendable (IPv4Address, UInt16?) -> Bool
    /// What servers of hosts with secrets are verified against.
    package var trust: UpstreamTrust
    package var logger: Logger
    /// Where name servers listen.
    package var nameServerPort: UInt16

    package init(
        group: any EventLoopGroup, nameServers: [IPv4Address],
        isBlocked: @escaping @Sendable (IPv4Address, UInt16?) -> Bool, trust: UpstreamTrust, logger: Logger,
        nameServerPort: UInt16 = 53
    ) {
        self.group = group
        self.nameServers = nameServers
        self.isBlocked = isBlocked
        self.trust = trust
        self.logger = logger
        self.nameServerPort = nameServerPort
    }
}
