import ArgumentParser
import MartletAPI
import MartletClient
import SandboxModel

/// What a sandbox may reach.
struct NetworkCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "network", abstract: "Show and replace what a sandbox may reach.",
        discussion: "martlet logs --network shows what it was refused.",
        subcommands: [NetworkShowCommand.self, NetworkSetCommand.self])
}

/// Shows a sandbox's network.
struct NetworkShowCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show", abstract: "Show a sandbox's policy, secrets and traffic.", aliases: ["get"])

    @Argument(help: "Id or name of the sandbox.")
    var sandbox: String

    @OptionGroup var output: OutputOptions

    func run() async throws {
        let found = try await Session.with { try await $0.network(sandbox) }
        try output.show(found) { NetworkText.all(found) }
    }
}

/// Replaces a sandbox's policy.
struct NetworkSetCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "set", abstract: "Replace a sandbox's policy, at once and as a whole.",
        usage: "martlet network set <sandbox> (--network <mode> | --allow <rule> ... | --policy <file>) [options]",
        discussion: "Connections that the new policy does not allow end.")

    @Argument(help: "Id or name of the sandbox.")
    var sandbox: String

    @OptionGroup var network: NetworkOptions
    @OptionGroup var output: OutputOptions

    func run() async throws {
        guard let policy = try network.networkPolicy() else {
            throw ValidationError("Say what it may reach: --network, --allow, --deny or --policy")
        }
        let changed = try await Session.with { try await $0.setNetwork(sandbox, policy) }
        switch output.format {
        case .json: Console.print(try JSONText.of(changed))
        case .table: Console.note("\(changed.id): \(NetworkText.summary(policy))")
        }
    }
}

/// Networks for people.
enum NetworkText {
    /// `none`, `allowlist, 3 allowed`, `public, 1 denied`.
    static func summary(_ policy: NetworkPolicy) -> String {
        var parts = [policy.mode.rawValue]
        if policy.mode == .allowlist { parts.append("\(policy.allow.count) allowed") }
        if !policy.deny.isEmpty { parts.append("\(policy.deny.count) denied") }
        return parts.joined(separator: ", ")
    }

    /// A line per fact.
    ///
    /// - Parameter most: so many rules of each list are shown.
    static func facts(_ policy: NetworkPolicy, most: Int) -> [(String, String)] {
        func list(_ rules: [NetworkRule]) -> String {
            let shown = rules.prefix(most).map(\.description).joined(separator: ", ")
            return rules.count > most ? "\(shown) and \(rules.count - most) more" : shown
        }
        var facts = [("network", policy.mode.rawValue)]
        if !policy.allow.isEmpty { facts.append(("allowed", list(policy.allow))) }
        if !policy.deny.isEmpty { facts.append(("denied", list(policy.deny))) }
        if let dns = policy.dns {
            facts.append(("name servers", dns.servers.map(\.description).joined(separator: ", ")))
        }
        if let rate = policy.rateMbps { facts.append(("rate", "\(rate) Mbit/s")) }
        if let connections = policy.maxConnections { facts.append(("connections", "\(connections) at once")) }
        return facts
    }

    static func all(_ network: NetworkResource) -> String {
        var facts = facts(network.policy, most: .max)
        if let problem = network.problem { facts.append(("problem", problem)) }
        for secret in network.secrets {
            let way = secret.header.map { "in header \($0)" } ?? "in place of \(secret.placeholder)"
            let hosts = secret.hosts.map(\.description).joined(separator: ", ")
            facts.append(("secret \(secret.name)", "to \(hosts), \(way)"))
        }
        if let address = network.address { facts.append(("address", "\(address)")) }
        if let counters = network.counters {
            facts += [
                ("sent", traffic(counters.sentBytes, counters.sentPackets)),
                ("received", traffic(counters.receivedBytes, counters.receivedPackets)),
                ("refused", "\(counters.denied) times"),
            ]
        }
        return FactTable.text(facts)
    }

    private static func traffic(_ bytes: UInt64, _ packets: UInt64) -> String {
        "\(Format.bytes(bytes)) in \(packets) packets"
    }
}
