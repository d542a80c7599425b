import LinuxSystem
import SandboxModel

/// A slot's parts in the kernel, as they come from the builder.
struct SlotParts: Sendable {
    var namespace: Descriptor
    /// The tap, held until the machine takes it; nil for a link.
    var tap: Descriptor?
    /// The links of the slot's namespace.
    var links: NetworkLinks
}

/// Makes slots; for the threads whose home is the host's namespace.
struct SlotBuilder: Sendable {
    let subnet: SlotSubnet
    let nftables: Nftables
    /// The links of the host's namespace.
    let host: NetworkLinks

    /// Makes a slot whole: nothing of it is left if a part fails. The namespace is closed before it is linked.
    ///
    /// The thread is in the host's namespace before and after.
    func make(_ index: Int, _ end: SlotEnd, home: Descriptor, facts: SlotRules.Facts) throws -> SlotParts {
        let parts = try inNewNamespace(home: home) { namespace in
            try SlotBuilder.setParameters()
            let links = try NetworkLinks()
            let tap = end == .tap ? try SlotBuilder.makeTap(links) : nil
            if end == .link { try SlotBuilder.makeLink(links, in: namespace) }
            try nftables.apply(SlotRules.definition(facts), in: namespace)
            return SlotParts(namespace: namespace, tap: tap, links: links)
        }
        let name = subnet.link(index)
        try host.addPair(
            name, subnet.hostHardware(index), peer: SlotRules.uplink, subnet.slotHardware(index), in: parts.namespace,
            mtu: GuestNetwork.mtu)
        do {
            try configureLink(index, parts)
        } catch {
            try? host.delete(name)
            throw error
        }
        return parts
    }

    private func inNewNamespace<Value>(home: Descriptor, _ work: (Descriptor) throws -> Value) throws -> Value {
        let namespace = try NetworkNamespace.enterNew()
        defer { try? NetworkNamespace.enter(home) }
        return try work(namespace)
    }

    /// Before there is any interface, so that none ever has an IPv6 address.
    static func setParameters() throws(SystemError) {
        // Where the kernel has no IPv6 there is nothing to switch off.
        if NetworkNamespace.parameter("ipv6/conf/all/disable_ipv6") != nil {
            try NetworkNamespace.set("ipv6/conf/all/disable_ipv6", to: "1")
        }
        try NetworkNamespace.set("ipv4/ip_forward", to: "1")
        // A guest learns of no address but its gateway's.
        try NetworkNamespace.set("ipv4/conf/all/arp_ignore", to: "1")
        try NetworkNamespace.set("ipv4/conf/all/accept_redirects", to: "0")
        try NetworkNamespace.set("ipv4/conf/all/send_redirects", to: "0")
        // Connections begin with their beginning: those a guest remembers from before it was restored are refused.
        try NetworkNamespace.set("netfilter/nf_conntrack_tcp_loose", to: "0")
        // A look-up is over soon, and counts as a connection until it is forgotten.
        try NetworkNamespace.set("netfilter/nf_conntrack_udp_timeout", to: "10")
    }

    static func makeTap(_ links: NetworkLinks) throws -> Descriptor {
        let tap = try Netfilter.tap(SlotRules.tap)
        try bringUpEnd(links)
        return tap
    }

    /// The name of a machine's card.
    static let card = "eth0"

    /// Makes a link in place of the tap; its other end waits in the same namespace, where it is down.
    private static func makeLink(_ links: NetworkLinks, in namespace: Descriptor) throws {
        let (gateway, guest) = try hardware()
        try links.addPair(SlotRules.tap, gateway, peer: card, guest, in: namespace, mtu: GuestNetwork.mtu)
        try bringUpEnd(links)
    }

    private static func hardware() throws(MartletError) -> (gateway: HardwareAddress, guest: HardwareAddress) {
        guard let gateway = HardwareAddress(GuestNetwork.gatewayMAC), let guest = HardwareAddress(GuestNetwork.guestMAC)
        else { throw MartletError(.internal, "network: the guest's network has no hardware addresses") }
        return (gateway, guest)
    }

    /// Gives the machine's card its address and its way out; the thread is in the machine's own namespace.
    static func configureCard() throws {
        let (gateway, guest) = try hardware()
        let links = try NetworkLinks()
        let index = try links.index(of: card)
        try links.bringUp(index, guest, mtu: GuestNetwork.mtu)
        try links.addAddress(GuestNetwork.address.bits, prefixLength: GuestNetwork.prefixLength, to: index)
        try links.addNeighbour(GuestNetwork.gateway.bits, gateway, on: index)
        try links.addDefaultRoute(by: GuestNetwork.gateway.bits, on: index)
    }

    private static func bringUpEnd(_ links: NetworkLinks) throws {
        let (gateway, guest) = try hardware()
        let index = try links.index(of: SlotRules.tap)
        try links.bringUp(index, gateway, mtu: GuestNetwork.mtu)
        try links.addAddress(GuestNetwork.gateway.bits, prefixLength: GuestNetwork.prefixLength, to: index)
        try links.addNeighbour(GuestNetwork.address.bits, guest, on: index)
    }

    private func configureLink(_ index: Int, _ parts: SlotParts) throws {
        let (hostHardware, slotHardware) = (subnet.hostHardware(index), subnet.slotHardware(index))
        let (hostAddress, slotAddress) = (subnet.hostAddress(index), subnet.slotAddress(index))
        let name = subnet.link(index)
        let inner = try parts.links.index(of: SlotRules.uplink)
        try parts.links.bringUp(inner, slotHardware, mtu: GuestNetwork.mtu)
        try parts.links.addAddress(slotAddress.bits, prefixLength: subnet.slotPrefixLength, to: inner)
        try parts.links.addNeighbour(hostAddress.bits, hostHardware, on: inner)
        try parts.links.addDefaultRoute(by: hostAddress.bits, on: inner)
        let outer = try host.index(of: name)
        if NetworkNamespace.parameter("ipv6/conf/\(name)/disable_ipv6") != nil {
            try NetworkNamespace.set("ipv6/conf/\(name)/disable_ipv6", to: "1")
        }
        try host.addAddress(hostAddress.bits, prefixLength: subnet.slotPrefixLength, to: outer)
        try host.addNeighbour(slotAddress.bits, slotHardware, on: outer)
    }
}
