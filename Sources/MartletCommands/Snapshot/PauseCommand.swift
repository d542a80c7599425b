import ArgumentParser
import MartletAPI
import MartletClient
import SandboxModel

/// Pauses sandboxes.
struct PauseCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pause", abstract: "Pause sandboxes; they keep memory, processes and disk.",
        discussion: "A paused sandbox has no deadline: it is kept until it is resumed or removed.")

    @Argument(help: "Ids or names of the sandboxes.")
    var sandboxes: [String]

    @OptionGroup var output: OutputOptions

    func run() async throws {
        let format = output
        try await Session.with { client in
            _ = try await Several.run(sandboxes) { id in
                let paused = try await client.pauseSandbox(id)
                try format.show(paused) { paused.id }
                if let capture = paused.capture, format.format == .table {
                    Console.note(
                        "\(paused.id): paused; held for \(Format.milliseconds(capture.pauseMilliseconds)), "
                            + "\(Format.bytes(capture.memoryBytes &+ capture.diskBytes)) stored")
                }
            }
        }
    }
}

/// Resumes sandboxes.
struct ResumeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "resume", abstract: "Let paused sandboxes go on where they were.",
        discussion:
            "With --from disk they are booted afresh from their disks, running ones too: the way out of a guest "
            + "that does not answer any more.")

    @Argument(help: "Ids or names of the sandboxes.")
    var sandboxes: [String]

    @Option(name: .long, help: "memory: everything as it was; disk: booted afresh.")
    var from: ResumeFrom = .memory

    @Option(name: .long, help: "How long they live from now, such as 10m or 2h.")
    var timeout: SecondsArgument?

    @OptionGroup var output: OutputOptions

    /// What is asked for.
    var request: ResumeSandboxRequest {
        ResumeSandboxRequest(from: from, timeoutSeconds: timeout.map { Int($0.seconds.rounded(.up)) })
    }

    func run() async throws {
        let (format, request) = (output, request)
        try await Session.with { client in
            _ = try await Several.run(sandboxes) { id in
                let resumed = try await client.resumeSandbox(id, request)
                try format.show(resumed) { resumed.id }
            }
        }
    }
}

extension ResumeFrom: ExpressibleByArgument {}
