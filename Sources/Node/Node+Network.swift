import GuestClient
import GuestProtocol
import HostNetwork
import LinuxSystem
import Logging
import SandboxEngine
import SandboxModel

extension Node {
    /// The network all slots come from.
    ///
    /// - Throws: `unsupported`, saying what is missing.
    func requiredNetwork() throws(MartletError) -> HostNetwork {
        guard let network else { throw MartletError(.unsupported, "network: \(networkObstacle)") }
        return network
    }

    /// Refuses what only a network card can do.
    ///
    /// - Throws: `unsupported`.
    func check(_ wanted: SandboxNetwork, hasNetworkCard: Bool) throws(MartletError) {
        guard wanted.policy.mode != .none || !wanted.secrets.isEmpty, !hasNetworkCard else { return }
        _ = try requiredNetwork()
        throw MartletError(
            .unsupported,
            "network: the capture it goes on from was made without a network card; make one of a new sandbox")
    }

    /// Puts the order's network in force, for a machine whose programs do not run yet.
    nonisolated func rule(_ home: MachineHome, _ order: RestoreOrder) async throws {
        try await home.slot?.apply(order.network, onDenial: teller(of: order.sandbox))
    }

    /// Tells of what a sandbox was refused.
    nonisolated func teller(of id: SandboxID) -> @Sendable (NetworkDenial) -> Void {
        { [denialSink] denial in denialSink.yield(NodeDenial(sandbox: id, denial: denial)) }
    }

    package func setNetwork(of id: SandboxID, _ network: SandboxNetwork) async throws {
        try await lock(for: id).withLock { try await self.setNetworkAlone(id, network) }
    }

    private func setNetworkAlone(_ id: SandboxID, _ network: SandboxNetwork) async throws {
        guard let sandbox = running[id] else { throw notRunning(id, "set network") }
        guard let slot = sandbox.home.slot else { return try check(network, hasNetworkCard: false) }
        // First of all: what is refused from now on must not depend on the guest.
        try await slot.apply(network, onDenial: teller(of: id))
        if let current = running[id], current.home.directory == sandbox.home.directory {
            var file = current.file
            file.policy = network.policy
            try file.write(in: current.home.directory)
            running[id]?.file = file
        }
        guard network.hasSecrets else { return }
        do {
            try await sandbox.machine.guest.thaw(Thaw.forSecrets(network, besides: sandbox.file.givenEnvironment))
        } catch {
            // It has the same ones already, unless they are new; and no guest may keep its policy from being changed.
            logger.warning(
                "a guest did not take the placeholders of its secrets",
                metadata: ["sandbox.id": "\(id)", "error": "\(error)"])
        }
    }

    package func networkCounters(of id: SandboxID) async throws -> NetworkCounters {
        guard let sandbox = running[id] else { throw notRunning(id, "network counters") }
        guard let slot = sandbox.home.slot else {
            throw MartletError(.unsupported, "network counters: \(id): it has no network card")
        }
        return try await slot.counters()
    }

    func networkReport() async -> NodeNetwork {
        guard let network else { return .unavailable(reason: networkObstacle) }
        return .available(await network.report())
    }
}
