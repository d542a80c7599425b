import HostNetwork
import SandboxModel

extension Node {
    /// Refuses what only a network can do.
    ///
    /// - Throws: `unsupported`.
    func check(_ network: SandboxNetwork) throws(MartletError) {
        guard network.policy.mode != .none || !network.secrets.isEmpty else { return }
        throw noNetwork()
    }

    func noNetwork() -> MartletError {
        MartletError(.unsupported, "network: this host has none for sandboxes: see martlet doctor")
    }

    package func setNetwork(of id: SandboxID, _ network: SandboxNetwork) async throws {
        guard running[id] != nil else { throw notRunning(id, "set network") }
        try check(network)
    }

    package func networkCounters(of id: SandboxID) async throws -> NetworkCounters {
        guard running[id] != nil else { throw notRunning(id, "network counters") }
        throw noNetwork()
    }
}
