import ArgumentParser
import MartletAPI
import MartletClient
import SandboxModel

/// Shows one sandbox.
struct GetCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "get", abstract: "Show all about a sandbox.", aliases: ["inspect"])

    @Argument(help: "Id or name of the sandbox.")
    var sandbox: String

    @OptionGroup var output: OutputOptions

    func run() async throws {
        let found = try await Session.with { try await $0.sandbox(sandbox) }
        try output.show(found) { Self.text(found) }
    }

    /// All there is to know, a line per fact.
    static func text(_ sandbox: SandboxResource) -> String {
        var facts: [(String, String)] = [
            ("id", sandbox.id), ("name", sandbox.name ?? "-"), ("template", sandbox.template),
            ("state", sandbox.state.rawValue + (sandbox.stateReason.map { " (\($0))" } ?? "")),
            (
                "isolation",
                "\(sandbox.isolation.level.rawValue), \(sandbox.isolation.engine) by \(sandbox.isolation.accelerator)"
            ),
            ("cpus", "\(sandbox.cpus)"), ("memory", "\(sandbox.memoryMiB) MiB"), ("disk", "\(sandbox.diskMiB) MiB"),
            ("created", sandbox.createdAt.description), ("expires", sandbox.expiresAt?.description ?? "never"),
        ]
        facts.append(("on time-out", sandbox.onTimeout.rawValue))
        if sandbox.record { facts.append(("recording", "a checkpoint after every command")) }
        if let parent = sandbox.parent { facts.append(("fork of", parent)) }
        if let snapshot = sandbox.fromSnapshot { facts.append(("from snapshot", snapshot)) }
        if let pausedAt = sandbox.pausedAt { facts.append(("paused", pausedAt.description)) }
        if let capture = sandbox.capture {
            let stored = Format.bytes(capture.memoryBytes &+ capture.diskBytes)
            facts.append(("capture", "held for \(Format.milliseconds(capture.pauseMilliseconds)), \(stored) stored"))
        }
        if let network = sandbox.network { facts += NetworkText.facts(network, most: 8) }
        for secret in sandbox.secrets ?? [] {
            facts.append(("secret \(secret.name)", "to " + secret.hosts.map(\.description).joined(separator: ", ")))
        }
        for (key, value) in sandbox.metadata.sorted(by: { $0.key < $1.key }) {
            facts.append(("metadata \(key)", value))
        }
        if let create = sandbox.create {
            let phases = create.phases.sorted { $0.key < $1.key }
                .map { "\($0.key) \(Format.milliseconds($0.value))" }.joined(separator: ", ")
            facts.append(
                ("create", "\(Format.milliseconds(create.totalMilliseconds)), \(create.mode.rawValue) (\(phases))"))
        }
        return FactTable.text(facts)
    }
}

/// Names and values, a line each.
enum FactTable {
    static func text(_ facts: [(String, String)]) -> String {
        let width = facts.map(\.0.count).max() ?? 0
        return facts.map { name, value in
            "\(Printable.line(name)):\(String(repeating: " ", count: width - name.count + 2))\(Printable.line(value))\n"
        }.joined()
    }
}
