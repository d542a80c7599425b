import ArgumentParser
import MartletClient

/// Opens a shell in a sandbox.
struct ShellCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "shell", abstract: "Open a shell in a sandbox.",
        discussion: "On a terminal the shell has it; else it reads its commands from standard input.")

    @Option(
        name: [.customShort("e"), .customLong("env")],
        help: "NAME=value for the shell; NAME alone passes ours on.")
    var variables: [VariableArgument] = []

    @Option(name: [.short, .long], help: "User or user:group the shell runs as.")
    var user: String?

    @Option(name: [.short, .long], help: "Directory the shell starts in.")
    var workdir: String?

    @Argument(help: "Id or name of the sandbox.")
    var sandbox: String

    /// The best shell there is; decided in the sandbox.
    static let words = ["/bin/sh", "-c", "command -v bash >/dev/null && exec bash -l; exec sh -l"]

    func run() async throws {
        // ParsableArguments cannot be made by hand: they get their defaults by parsing nothing.
        var program = try ProgramOptions.parse([])
        program.variables = variables
        program.user = user
        program.workdir = workdir
        program.interactive = true
        program.tty = UserTerminal.isInteractive
        throw ExitCode(try await ExecCommand.run(Self.words, in: sandbox, program))
    }
}
