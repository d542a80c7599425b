import ArgumentParser
import MartletAPI
import SandboxModel

/// The options of `run` and `exec` that say how the program is run.
struct ProgramOptions: ParsableArguments {
    @Option(
        name: [.customShort("e"), .customLong("env")],
        help: "NAME=value for the program; NAME alone passes ours on.")
    var variables: [VariableArgument] = []

    @Option(name: [.short, .long], help: "User or user:group the program runs as.")
    var user: String?

    @Option(name: [.short, .long], help: "Directory the program starts in.")
    var workdir: String?

    @Option(name: .long, help: "End the program after this long, such as 30s or 5m; the exit code is then 124.")
    var timeout: SecondsArgument?

    @Flag(name: [.short, .long], help: "Pass standard input on even if it is a terminal.")
    var interactive = false

    @Flag(name: [.short, .long], help: "Run the program on a terminal if we are on one.")
    var tty = false

    /// What the program may write between its start and our following it, which then makes it wait.
    private static let replayBytes = 4 << 20

    /// What starts the program.
    func request(_ command: [String]) -> StartProcessRequest {
        var environment = variables.resolved() ?? [:]
        if attachment.terminal, environment["TERM"] == nil { environment["TERM"] = Session.environment["TERM"] }
        return StartProcessRequest(
            cmd: .arguments(command), cwd: workdir, env: environment.isEmpty ? nil : environment, user: user,
            timeoutSeconds: timeout?.seconds, replayBytes: Self.replayBytes)
    }

    /// How the program is tied to our streams.
    var attachment: ProcessSession.Attachment {
        let terminal = tty && UserTerminal.isInteractive
        let input = terminal || interactive || !UserTerminal.inputIsTerminal
        return ProcessSession.Attachment(input: input && !StandardInput.isNull, terminal: terminal)
    }

    /// Says why there is no terminal although one was asked for.
    func explainMissingTerminal() {
        guard tty, !UserTerminal.isInteractive else { return }
        Console.note("no terminal for the program: standard input or output is not one")
    }
}

/// The command behind `--`, or behind the last option.
enum CommandWords {
    /// Removes the `--` in front, and refuses an option that was not understood.
    ///
    /// - Parameter verb: whose help is shown if that is what was asked for.
    static func parse(_ words: [String], of verb: any ParsableCommand.Type) throws -> [String] {
        guard let first = words.first else { return [] }
        if first == "--" { return Array(words.dropFirst()) }
        if first == "--help" || first == "-h" { throw CleanExit.helpRequest(verb) }
        guard first.count < 2 || !first.hasPrefix("-") else {
            throw ValidationError("Unknown option '\(first)'; the command comes after '--'")
        }
        return words
    }
}
