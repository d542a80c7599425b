import ArgumentParser
import MartletAPI
import MartletClient

/// Runs a program in a sandbox that is there.
struct ExecCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "exec", abstract: "Run a program in a sandbox.",
        usage: "martlet exec [options] <sandbox> -- command [arguments ...]")

    @OptionGroup var program: ProgramOptions

    @Argument(help: "Id or name of the sandbox.")
    var sandbox: String

    @Argument(parsing: .captureForPassthrough, help: "The command and its arguments, after '--'.")
    var command: [String] = []

    func validate() throws {
        if try CommandWords.parse(command, of: Self.self).isEmpty {
            throw ValidationError("Missing command: martlet exec \(sandbox) -- command")
        }
    }

    func run() async throws {
        let words = try CommandWords.parse(command, of: Self.self)
        program.explainMissingTerminal()
        throw ExitCode(try await Self.run(words, in: sandbox, program))
    }

    /// Runs a program tied to our streams and returns its exit code.
    static func run(_ words: [String], in sandbox: String, _ program: ProgramOptions) async throws -> Int32 {
        let signals = Signals()
        return try await Session.with { client in
            let session = ProcessSession(
                client: client, sandbox: sandbox, request: program.request(words), attachment: program.attachment,
                signals: signals)
            return try await session.run().code
        }
    }
}
