import ArgumentParser
import LinuxSystem
import MartletAPI
import MartletClient
import SandboxModel

/// Snapshots: sandboxes kept as they were at an instant.
struct SnapshotCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "snapshot", abstract: "Take, list, move and remove snapshots.",
        discussion: "martlet create --from-snapshot makes a sandbox from one, martlet fork makes many.",
        subcommands: [
            SnapshotCreateCommand.self, SnapshotListCommand.self, SnapshotInspectCommand.self,
            SnapshotRemoveCommand.self, SnapshotExportCommand.self, SnapshotImportCommand.self,
        ], aliases: ["snapshots"])
}

/// Takes a snapshot.
struct SnapshotCreateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "create", abstract: "Capture a sandbox, running or paused, and print the snapshot's id.")

    @Argument(help: "Id or name of the sandbox.")
    var sandbox: String

    @Option(name: .long, help: "A name for the snapshot, to be used in place of its id.")
    var name: String?

    @Option(name: [.short, .customLong("metadata")], help: "KEY=value to find it by.")
    var metadata: [VariableArgument] = []

    @OptionGroup var output: OutputOptions

    func run() async throws {
        let request = CreateSnapshotRequest(name: name, metadata: try metadata.labels())
        let taken = try await Session.with { try await $0.createSnapshot(of: sandbox, request) }
        try output.show(taken) { taken.id }
        guard output.format == .table else { return }
        Console.note(
            "the sandbox was held for \(Format.milliseconds(taken.pauseMilliseconds)); "
                + "\(Format.bytes(taken.memoryBytes &+ taken.diskBytes)) stored")
    }
}

/// Shows the snapshots.
struct SnapshotListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ls", abstract: "List snapshots.", aliases: ["list"])

    @Flag(name: [.short, .long], help: "Show checkpoints, and deleted ones that are still used, too.")
    var all = false

    @Flag(name: [.short, .long], help: "Print ids only.")
    var quiet = false

    @Option(name: .long, help: "Only those taken of this sandbox, by id or name.")
    var sandbox: String?

    @OptionGroup var output: OutputOptions

    func run() async throws {
        let found = try await Session.with { client in
            let ready = try await client.allSnapshots(sandbox: sandbox)
            guard all else { return ready.filter { $0.kind != .checkpoint } }
            return ready + (try await client.allSnapshots(sandbox: sandbox, state: .deleting))
        }
        if quiet {
            for snapshot in found { Console.print(snapshot.id) }
            return
        }
        try output.show(Page(items: found, nextCursor: nil)) { SnapshotTable.text(found) }
    }
}

/// Shows one snapshot.
struct SnapshotInspectCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "inspect", abstract: "Show all about a snapshot.", aliases: ["get"])

    @Argument(help: "Id or name of the snapshot.")
    var snapshot: String

    @OptionGroup var output: OutputOptions

    func run() async throws {
        let found = try await Session.with { try await $0.snapshot(snapshot) }
        try output.show(found) { SnapshotTable.facts(found) }
    }
}

/// Removes snapshots.
struct SnapshotRemoveCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rm", abstract: "Delete snapshots; one in use goes with the last sandbox made from it.")

    @Argument(help: "Ids or names of the snapshots.")
    var snapshots: [String]

    func run() async throws {
        try await Session.with { client in
            _ = try await Several.run(snapshots) { id in
                if let kept = try await client.deleteSnapshot(id) {
                    let users =
                        kept.inUseBy.isEmpty ? "what is being done with it" : kept.inUseBy.joined(separator: ", ")
                    Console.note("\(id): deleted, and kept until it is not used any more by \(users)")
                }
                Console.print(id)
            }
        }
    }
}

/// Snapshots for people.
enum SnapshotTable {
    static func text(
        _ snapshots: [SnapshotResource], now: Int64 = Clocks.realtimeMilliseconds, colour: Bool = Style.isOnForOutput
    ) -> String {
        var table = Table(["ID", "NAME", "KIND", "SANDBOX", "TEMPLATE", "SIZE", "HELD", "AGE", "STATE"])
        table.paint = { column, text in
            guard column == 8 else { return text }
            return (text == "ready" ? Style.green : .yellow).paint(text, on: colour)
        }
        for snapshot in snapshots {
            table.add([
                snapshot.id, snapshot.name ?? "-",
                snapshot.kind.rawValue + (snapshot.number.map { " \($0)" } ?? ""), snapshot.sandbox,
                snapshot.template, Format.bytes(snapshot.memoryBytes &+ snapshot.diskBytes),
                Format.milliseconds(snapshot.pauseMilliseconds),
                Format.age(milliseconds: now - snapshot.capturedAt.milliseconds), snapshot.state.rawValue,
            ])
        }
        return table.text
    }

    /// All there is to know, a line per fact.
    static func facts(_ snapshot: SnapshotResource) -> String {
        var facts: [(String, String)] = [
            ("id", snapshot.id), ("name", snapshot.name ?? "-"),
            ("kind", snapshot.kind.rawValue + (snapshot.number.map { " \($0)" } ?? "")),
            ("state", snapshot.state.rawValue), ("sandbox", snapshot.sandbox), ("parent", snapshot.parent ?? "-"),
            ("template", snapshot.template),
            (
                "isolation",
                "\(snapshot.isolation.level.rawValue), \(snapshot.isolation.engine) by \(snapshot.isolation.accelerator)"
            ),
            ("cpus", "\(snapshot.cpus)"), ("memory", "\(snapshot.memoryMiB) MiB"),
            ("disk", "\(snapshot.diskMiB) MiB"), ("captured", snapshot.capturedAt.description),
            ("held for", Format.milliseconds(snapshot.pauseMilliseconds)),
            ("stored", "\(Format.bytes(snapshot.memoryBytes)) memory, \(Format.bytes(snapshot.diskBytes)) disk"),
            ("in use by", snapshot.inUseBy.isEmpty ? "-" : snapshot.inUseBy.joined(separator: ", ")),
        ]
        for (key, value) in snapshot.metadata.sorted(by: { $0.key < $1.key }) {
            facts.append(("metadata \(key)", value))
        }
        return FactTable.text(facts)
    }
}

extension [VariableArgument] {
    /// Labels by name; each needs a value.
    func labels() throws -> [String: String]? {
        for pair in self where pair.value == nil {
            throw ValidationError("Metadata '\(pair.name)' needs a value: --metadata \(pair.name)=value")
        }
        return resolved(from: [:])
    }
}
