import HostNetwork
import Node
import SandboxModel
import Synchronization

/// Networks without packets: what is kept of one is what it was told to be.
extension TestNode {
    // MARK: What tests turn

    /// The host has networks for its sandboxes from now on.
    func offerNetworks() {
        let subnet = IPv4Prefix(IPv4Address(10, 201, 0, 0), length: 16)
        let report = HostNetworkReport(subnet: subnet, capacity: 16_384, used: 3, ready: 5)
        state.withLock { $0.hostNetwork = .available(report) }
    }

    /// What a sandbox's network is now; nil when there is no such sandbox.
    func network(of id: SandboxID) -> SandboxNetwork? { state.withLock { $0.machines[id]?.network } }
    /// Every network a sandbox was given, oldest first.
    func networks(of id: SandboxID) -> [SandboxNetwork] {
        state.withLock { state in state.given.filter { $0.id == id }.map(\.network) }
    }
    func setCounters(of id: SandboxID, _ counters: NetworkCounters) {
        state.withLock { $0.machines[id]?.counters = counters }
    }

    func setAddress(of id: SandboxID, _ address: IPv4Address) {
        state.withLock { $0.machines[id]?.sandbox.networkAddress = address }
    }
    /// The node is a new one that has taken the sandboxes over: it knows no network yet.
    func forgetNetworks() {
        state.withLock { state in
            state.given = []
            for id in state.machines.keys { state.machines[id]?.network = .closed }
        }
    }

    /// The sandbox is refused something.
    func deny(_ id: SandboxID, _ denial: NetworkDenial) {
        state.withLock { state in
            let event = NodeDenial(sandbox: id, denial: denial)
            let isTaken = if case .enqueued? = state.denialSource?.yield(event) { true } else { false }
            if !isTaken { state.waitingDenials.append(event) }
        }
    }

    // MARK: NodeService

    func setNetwork(of id: SandboxID, _ network: SandboxNetwork) async throws {
        try await begin(.setNetwork)
        guard try machine(id).connection != nil else {
            throw MartletError(.failedPrecondition, "set network: \(id): it is paused")
        }
        state.withLock { state in
            state.machines[id]?.network = network
            state.given.append((id, network))
        }
    }

    func networkCounters(of id: SandboxID) async throws -> NetworkCounters {
        let machine = try machine(id)
        guard machine.connection != nil else {
            throw MartletError(.failedPrecondition, "network counters: \(id): it is paused")
        }
        return machine.counters
    }
}
