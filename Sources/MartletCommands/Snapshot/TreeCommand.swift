import ArgumentParser
import LinuxSystem
import MartletAPI
import MartletClient
import SandboxModel

/// Draws the family of a sandbox.
struct TreeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tree", abstract: "Draw what a sandbox comes from and what was made of it.",
        discussion: "'*' marks where it stands now.")

    @Argument(help: "Id or name of the sandbox.")
    var sandbox: String

    @OptionGroup var output: OutputOptions

    func run() async throws {
        let tree = try await Session.with { try await $0.tree(sandbox) }
        try output.show(tree) { TreeDrawing.text(tree) }
    }
}

/// A family as lines of text.
enum TreeDrawing {
    static func text(
        _ tree: TreeResource, now: Int64 = Clocks.realtimeMilliseconds, colour: Bool = Style.isOnForOutput
    ) -> String {
        let known = Set(tree.nodes.map(\.id))
        let isRoot = { (node: TreeResource.Node) in node.parent.map { !known.contains($0) } ?? true }
        let children = Dictionary(grouping: tree.nodes.filter { !isRoot($0) }) { $0.parent ?? "" }
        var lines: [String] = []
        var drawn: Set<String> = []
        // The last one in is drawn next. A stack of our own: a family may be deeper than one of calls.
        var waiting = tree.nodes.filter(isRoot).reversed().map { (node: $0, stem: "", branch: "", below: "") }
        while let (node, stem, branch, below) = waiting.popLast() {
            guard drawn.insert(node.id).inserted else { continue }
            let mark = node.isCurrent ? Style.green.paint(" *", on: colour) : ""
            lines.append(Style.dim.paint(stem + branch, on: colour) + label(node, now: now, colour: colour) + mark)
            let next = children[node.id] ?? []
            for (place, child) in next.enumerated().reversed() {
                let isLast = place == next.count - 1
                waiting.append((child, stem + below, isLast ? "└─ " : "├─ ", isLast ? "   " : "│  "))
            }
        }
        return lines.joined(separator: "\n") + "\n"
    }

    private static func label(_ node: TreeResource.Node, now: Int64, colour: Bool) -> String {
        let name = node.name.map { " " + Printable.line($0) } ?? ""
        let age = Format.age(milliseconds: now - node.at.milliseconds)
        let state = Printable.line(node.state)
        switch node.kind {
        case .sandbox:
            let id = Style.bold.paint(Printable.line(node.id), on: colour)
            return "sandbox \(id)\(name)  \(state), \(age)"
        case .snapshot: return "snapshot \(Printable.line(node.id))\(name)  \(state), \(age)"
        case .checkpoint: return "checkpoint \(node.number ?? 0)  \(state == "ready" ? "" : state + ", ")\(age)"
        }
    }
}

/// Puts a sandbox back.
struct RewindCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rewind", abstract: "Put a recording sandbox back to one of its checkpoints.",
        discussion: "Make it with --record; martlet tree shows its checkpoints. Later ones stay.")

    @Argument(help: "Id or name of the sandbox.")
    var sandbox: String

    @Option(name: .long, help: "Number of the checkpoint.")
    var to: Int

    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard to >= 0 else { throw ValidationError("--to takes the number of a checkpoint, from 0 up") }
    }

    func run() async throws {
        let rewound = try await Session.with { try await $0.rewindSandbox(sandbox, to: to) }
        try output.show(rewound) { rewound.id }
    }
}
