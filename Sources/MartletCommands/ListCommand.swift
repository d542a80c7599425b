import ArgumentParser
import Glibc
import LinuxSystem
import MartletAPI
import MartletClient
import SandboxModel

/// Shows the sandboxes.
struct ListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ls", abstract: "List sandboxes.", aliases: ["ps", "list"])

    @Flag(name: [.short, .long], help: "Show those that have ended or failed too.")
    var all = false

    @Flag(name: [.short, .long], help: "Print ids only.")
    var quiet = false

    @Option(name: [.short, .customLong("metadata")], help: "Only those with KEY=value.")
    var metadata: [VariableArgument] = []

    @OptionGroup var output: OutputOptions

    func run() async throws {
        let wanted = metadata.resolved(from: [:]) ?? [:]
        let found = try await Session.with { try await $0.allSandboxes(metadata: wanted) }
        let shown = found.filter { all || $0.state.isLive }
        if quiet {
            for sandbox in shown { Console.print(sandbox.id) }
            return
        }
        try output.show(Page(items: shown, nextCursor: nil)) { SandboxTable.text(shown) }
    }
}

/// Sandboxes for people.
enum SandboxTable {
    static func text(
        _ sandboxes: [SandboxResource], now: Int64 = Clocks.realtimeMilliseconds, colour: Bool = Style.isOnForOutput
    ) -> String {
        var table = Table(["ID", "NAME", "TEMPLATE", "STATE", "ISOLATION", "AGE", "EXPIRES"])
        table.paint = { column, text in
            guard column == 3 else { return text }
            let style: Style? =
                switch SandboxState(rawValue: text) {
                case .running: .green
                case .failed: .red
                case .paused, .stopped: .dim
                default: .yellow
                }
            return style?.paint(text, on: colour) ?? text
        }
        for sandbox in sandboxes {
            table.add([
                sandbox.id, sandbox.name ?? "-", sandbox.template, sandbox.state.rawValue,
                "\(sandbox.isolation.engine)/\(sandbox.isolation.accelerator)",
                Format.age(milliseconds: now - sandbox.createdAt.milliseconds),
                sandbox.expiresAt.map { "in " + Format.age(milliseconds: $0.milliseconds - now) } ?? "never",
            ])
        }
        return table.text
    }
}
