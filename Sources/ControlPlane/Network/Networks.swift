import ControlStore
import Node
import SandboxModel
import Synchronization

/// Makes what decides over a sandbox's network out of what was asked for or is on record. Values of secrets are in the
/// clear only on their way from here to the node.
final class Networks: Sendable {
    private let configuration: ControlPlaneConfiguration
    private let store: any SecretStore
    /// Why a sandbox's network is closed whatever its policy says.
    private let problems = Mutex<[SandboxID: String]>([:])

    init(configuration: ControlPlaneConfiguration, store: any SecretStore) {
        self.configuration = configuration
        self.store = store
    }

    /// The network of a sandbox that is about to be made.
    struct Prepared: Sendable {
        var network: SandboxNetwork
        /// What is kept of its secrets; nil when it has none.
        var sealed: SealedSecrets?
    }

    /// - Parameters:
    ///   - policy: that of what it is made from, if that has one.
    ///   - inherited: secrets of what it is made from, where they are to be its own too. One that is asked for by the
    ///     same name takes its place.
    func prepare(
        _ plan: NetworkPlan, for id: SandboxID, policy: NetworkPolicy?, inherited: SandboxSecrets? = nil
    ) async throws -> Prepared {
        let own = plan.secrets.map { secret in
            NetworkSecret(
                name: secret.name, placeholder: Networks.placeholder(secret.name), value: secret.value,
                hosts: secret.hosts, header: secret.header, format: secret.format)
        }
        let names = Set(own.map(\.name))
        let secrets = (inherited?.secrets ?? []).filter { !names.contains($0.name) } + own
        var network = SandboxNetwork(
            policy: plan.policy ?? policy ?? configuration.defaultNetwork, secrets: secrets)
        guard !secrets.isEmpty else { return Prepared(network: network, sealed: nil) }
        guard secrets.count <= SecretCheck.maxCount else {
            throw MartletError.invalid("secrets", "holds more than \(SecretCheck.maxCount), inherited ones included")
        }
        // Programs that go on in a child trust the authority they have known so far.
        network.authority = try inherited?.authority ?? SandboxAuthority.make(for: id)
        let sealed = try await store.seal(
            SandboxSecrets(secrets: secrets, authority: network.authority), for: id)
        return Prepared(network: network, sealed: sealed)
    }

    /// The network of a sandbox on record.
    ///
    /// - Throws: `failed_precondition` when its secrets cannot be read: it is to have no network then.
    func network(of record: SandboxRecord) async throws -> SandboxNetwork {
        let secrets = try await secrets(of: record)
        return SandboxNetwork(
            policy: record.network, secrets: secrets?.secrets ?? [], authority: secrets?.authority)
    }

    /// The secrets of a sandbox on record; nil when it has none.
    func secrets(of record: SandboxRecord) async throws -> SandboxSecrets? {
        guard let sealed = record.secrets else { return nil }
        return try await store.unseal(sealed, for: record.id)
    }

    /// 128 random bits, so that nobody guesses another sandbox's, in characters that stay as they are in headers,
    /// URLs and shells.
    private static func placeholder(_ name: String) -> String {
        let random = RandomID.make(prefix: "0", length: 27).dropFirst()
        return "martlet-secret-\(name.lowercased())-\(random)"
    }

    // MARK: Problems

    func setProblem(_ id: SandboxID, _ problem: String?) { problems.withLock { $0[id] = problem } }
    func problem(of id: SandboxID) -> String? { problems.withLock { $0[id] } }
}
