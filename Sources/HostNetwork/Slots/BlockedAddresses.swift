import SandboxModel
import Synchronization

/// Which addresses are out of every sandbox's reach: the special ones and the host's own, but for what the operator has
/// opened; and always those of slots.
final class BlockedAddresses: Sendable {
    private let subnet: SlotSubnet
    let opened: [NetworkRule]
    private let host = Mutex<[IPv4Address]>([])

    init(subnet: SlotSubnet, opened: [NetworkRule]) {
        self.subnet = subnet
        self.opened = opened
    }

    /// Takes note of the host's own addresses; true if they are others than before.
    @discardableResult
    func setHost(_ addresses: [IPv4Address]) -> Bool {
        let own = Set(addresses.filter { !subnet.prefix.contains($0) }).sorted()
        return host.withLock { host in
            defer { host = own }
            return host != own
        }
    }

    var prefixes: [IPv4Prefix] {
        SpecialAddresses.blocked + host.withLock { $0 }.map { IPv4Prefix($0, length: 32) }
    }

    func facts(of address: IPv4Address) -> SlotRules.Facts {
        SlotRules.Facts(address: address, subnet: subnet.prefix, blocked: prefixes, opened: opened)
    }

    /// Whether an address is blocked on a port, or with nil on every port.
    func contains(_ address: IPv4Address, _ port: UInt16?) -> Bool {
        if subnet.prefix.contains(address) || SlotRules.gatewayNetwork.contains(address) { return true }
        let isOpened = opened.contains { rule in
            guard case .addresses(let prefix) = rule.target, prefix.contains(address) else { return false }
            return port.map { rule.ports.isEmpty || rule.covers(port: $0) } ?? true
        }
        if isOpened { return false }
        return SpecialAddresses.blocked.contains { $0.contains(address) } || host.withLock { $0.contains(address) }
    }
}
