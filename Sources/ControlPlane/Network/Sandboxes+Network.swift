import ControlStore
import MartletAPI
import Node
import SandboxModel

extension Sandboxes {
    /// What a sandbox may reach, which secrets it has, and what went through its network.
    ///
    /// - Throws: `not_found`.
    package func network(_ idOrName: String, caller: Caller) async throws -> NetworkResource {
        let record = try find(idOrName, caller: caller)
        var resource = NetworkResource(
            policy: record.network,
            secrets: (record.secrets?.facts ?? []).map {
                .init(name: $0.name, hosts: $0.hosts, header: $0.header, placeholder: $0.placeholder)
            },
            problem: networks.problem(of: record.id))
        if record.state == .running {
            resource.address = await node.sandboxes().first { $0.id == record.id }?.networkAddress
            resource.counters = await networkCounters(of: record.id)
        }
        return resource
    }

    /// Replaces a sandbox's policy, whether it runs or is paused. In force when this returns; connections that it does
    /// not allow have ended. What it was stays in force if this fails.
    ///
    /// - Throws: `invalid_argument`, `not_found`, `failed_precondition` when it neither runs nor is paused or its
    ///   secrets cannot be read, `unsupported` where there is no network, and what the node throws.
    package func setNetwork(
        _ idOrName: String, _ policy: NetworkPolicy, caller: Caller
    ) async throws -> SandboxResource {
        try policy.check(field: nil)
        let id = try find(idOrName, caller: caller).id
        return SandboxResource(try await turns.take(id) { try await setNetworkNow(id, policy) })
    }

    /// To be called in the sandbox's turn.
    private func setNetworkNow(_ id: SandboxID, _ policy: NetworkPolicy) async throws -> SandboxRecord {
        guard let before = index.record(id), before.state == .running || before.state == .paused else {
            throw wrongState("set network", id)
        }
        var wanted = before
        wanted.network = policy
        let network = try await networks.network(of: wanted)
        return try await shielded { [self] in
            guard index.change(id, { $0.network = policy }) != nil else { throw Sandboxes.notFound(id.rawValue) }
            do {
                // On record first: what a daemon finds that comes after a crash right here is what was asked for.
                try await store.updateLatest { [index] in index.record(id) }
                if before.state == .running {
                    try await node.setNetwork(of: id, network)
                    networks.setProblem(id, nil)
                }
            } catch {
                _ = index.change(id) { $0.network = before.network }
                await save(id)
                // It may have failed after it was in force.
                if before.state == .running, let old = try? await networks.network(of: before) {
                    try? await node.setNetwork(of: id, old)
                }
                throw error
            }
            events.note(
                id, "network", "network policy set: \(policy.mode.rawValue)",
                ["mode": policy.mode.rawValue, "allow": "\(policy.allow.count)", "deny": "\(policy.deny.count)"])
            guard let record = index.record(id) else { throw Sandboxes.notFound(id.rawValue) }
            return record
        }
    }

    /// What the host counts of a sandbox's network; nil where it has none.
    func networkCounters(of id: SandboxID) async -> NetworkCounters? { try? await node.networkCounters(of: id) }
}
