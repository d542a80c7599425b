import CLinux
import LinuxSystem
import Logging
import SandboxModel
import Synchronization

/// One sandbox's network: a namespace with a tap for its machine on one side and a way out on the other.
package final class NetworkSlot: Sendable {
    package let index: Int
    /// What is on the machine's side.
    package let end: SlotEnd
    /// The sandbox's address outside its namespace.
    package let address: IPv4Address
    /// The namespace; a machine's process is to live in it. Owned by the slot.
    package let namespace: Descriptor

    /// What is in force, and what belongs to it.
    struct State {
        /// Held until the machine takes it.
        var tap: Descriptor?
        /// Nil while that is not known, or may be anything: an adopted slot, or one whose rules could not be replaced.
        var rules: PolicyRules?
        /// Whether the base rules are of an earlier daemon.
        var hasForeignBase = false
        var rate: UInt64?
        var isRateKnown = true
        var log: SocketWatcher.Watch?
        var proxy: SlotProxy?
        /// Refused before the kernel's counters began anew.
        var deniedBefore: UInt64 = 0
        var isReleased = false
    }

    let tools: SlotTools
    let state: Mutex<State>
    let connector: NamespaceConnector
    let denials: DenialCollector
    /// What names and proxy have refused; the kernel counts the rest.
    let deniedByNames = Atomic<UInt64>(0)
    /// One change at a time.
    let turn = AsyncLock()

    /// A slot just made, with its parts; or with no parts one that an earlier daemon has left.
    init(index: Int, end: SlotEnd, namespace: Descriptor, parts: SlotParts?, tools: SlotTools) {
        self.index = index
        self.end = end
        self.address = tools.subnet.slotAddress(index)
        self.namespace = namespace
        self.tools = tools
        var state = State()
        if let parts {
            state.tap = parts.tap
            state.rules = PolicyRules(.closed, facts: tools.blocked.facts(of: address))
        } else {
            state.hasForeignBase = true
            state.isRateKnown = false
        }
        self.state = Mutex(state)
        connector = NamespaceConnector(thread: tools.urgent, watcher: tools.watcher, namespace: namespace)
        let watcher = tools.watcher
        denials = DenialCollector { nanoseconds, collector in
            watcher.after(nanoseconds: nanoseconds) { collector.flush() }
        }
    }

    /// The name of its tap, in its namespace.
    package static let tapName = SlotRules.tap

    /// Opens the tap for the one machine of this slot; the caller owns the descriptor.
    ///
    /// - Throws: `failed_precondition` while a machine has it.
    package func openTap() async throws -> Descriptor {
        try checkHeld()
        if let tap = state.withLock({ $0.tap.take() }) { return tap }
        do {
            return try await tools.urgent.run(in: namespace, .handOut) { try Netfilter.tap(SlotRules.tap) }
        } catch {
            throw MartletError(.failedPrecondition, "network: slot \(index): \(error)")
        }
    }

    /// Moves the machine's end of a link into a namespace, as its card `eth0` with the guest's address.
    ///
    /// - Throws: `failed_precondition` when it was moved already, or there is none.
    package func join(_ inner: Descriptor) async throws {
        try checkHeld()
        do {
            try await tools.urgent.run(in: inner, .handOut) {
                // Before there is a card, so that it never has an IPv6 address.
                if NetworkNamespace.parameter("ipv6/conf/all/disable_ipv6") != nil {
                    for name in ["all", "default"] {
                        try NetworkNamespace.set("ipv6/conf/\(name)/disable_ipv6", to: "1")
                    }
                }
            }
            try await tools.urgent.run(in: namespace, .handOut) {
                try NetworkLinks().move(SlotBuilder.card, to: inner)
            }
            try await tools.urgent.run(in: inner, .handOut) { try SlotBuilder.configureCard() }
        } catch {
            throw MartletError(.failedPrecondition, "network: slot \(index): its card: \(error)")
        }
    }

    /// What went through, since the sandbox has this slot.
    package func counters() async throws -> NetworkCounters {
        try checkHeld()
        let link = tools.subnet.link(index)
        let links = tools.urgentLinks
        let before = state.withLock { $0.deniedBefore } + deniedByNames.load(ordering: .relaxed)
        return try await tools.urgent.run(in: namespace, .background) {
            // The host's end of the link: what it has received the sandbox has sent.
            let statistics = try links.statistics(of: link)
            return NetworkCounters(
                sentBytes: statistics.receivedBytes, receivedBytes: statistics.sentBytes,
                sentPackets: statistics.receivedPackets, receivedPackets: statistics.sentPackets,
                denied: before + NetworkSlot.deniedPackets())
        }
    }

    /// What the rules of the thread's namespace have refused.
    static func deniedPackets() -> UInt64 {
        guard let netfilter = try? Netfilter() else { return 0 }
        let families: [Netfilter.Family] = [.netdev, .ipv4]
        return families.reduce(0) { sum, family in
            sum + ((try? netfilter.packets(counter: SlotRules.counter, table: SlotRules.table, family: family)) ?? 0)
        }
    }

    func checkHeld() throws(MartletError) {
        if state.withLock({ $0.isReleased }) {
            throw MartletError(.failedPrecondition, "network: slot \(index): it was given back")
        }
    }
}
