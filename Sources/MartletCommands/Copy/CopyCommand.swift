import ArgumentParser
import MartletClient
import SandboxModel

/// Copies files between this machine and a sandbox.
struct CopyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cp", abstract: "Copy files and directories into or out of a sandbox.",
        discussion: """
            One of the two is ID:/path. Directories are copied with all in them; permission bits and links are kept.
            '-' is standard input or output. As with cp, a target that is a directory takes the source into it.
            """)

    @Argument(help: "What to copy: a path, ID:/path or '-'.")
    var source: String

    @Argument(help: "Where to: a path, ID:/path or '-'.")
    var target: String

    @Flag(name: [.short, .long], help: "Show no progress.")
    var quiet = false

    func run() async throws {
        let (from, to) = (try CopyPlace(parsing: source), try CopyPlace(parsing: target))
        let progress = ProgressLine(isOn: !quiet)
        defer { progress.finish() }
        try await Session.with { client in
            switch (from, to) {
            case (.stream, .sandbox(let id, let path)):
                try await Uploader(client: client, sandbox: id, progress: progress).uploadInput(to: path)
            case (.host(let path), .sandbox(let id, let target)):
                try await Uploader(client: client, sandbox: id, progress: progress).upload(path, to: target)
            case (.sandbox(let id, let path), .stream):
                try await Downloader(client: client, sandbox: id, progress: progress).downloadToOutput(path)
            case (.sandbox(let id, let path), .host(let target)):
                try await Downloader(client: client, sandbox: id, progress: progress).download(path, to: target)
            case (.sandbox, .sandbox):
                throw MartletError(.unsupported, "cp: between two sandboxes: copy to this machine first")
            case (.host, _), (.stream, _):
                throw MartletError(
                    .invalidArgument, "cp: one of the two must be in a sandbox, written ID:/path")
            }
        }
    }
}
