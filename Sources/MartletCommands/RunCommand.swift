import ArgumentParser
import Glibc
import MartletAPI
import MartletClient
import SandboxModel

/// Makes a sandbox, runs one program in it, and removes it.
struct RunCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run", abstract: "Run a program in a new sandbox.",
        usage: "martlet run [options] -- command [arguments ...]",
        discussion: "Without a command, and on a terminal, it is a shell.")

    @OptionGroup var sandboxOptions: SandboxOptions
    @OptionGroup var program: ProgramOptions

    @Flag(name: .long, inversion: .prefixedNo, help: "Remove the sandbox when the program has ended.")
    var rm = true

    @Flag(name: .long, help: "Keep the sandbox; the same as --no-rm.")
    var keep = false

    @Flag(name: .long, help: "Say on standard error what ran where and how long it took.")
    var summary = false

    @Argument(parsing: .captureForPassthrough, help: "The command and its arguments, after '--'.")
    var command: [String] = []

    /// What the sandbox gets to live at a time, in seconds: should we die, it is gone that much later.
    static let leaseSeconds = 300

    func validate() throws {
        if try CommandWords.parse(command, of: Self.self).isEmpty, !UserTerminal.isInteractive {
            throw ValidationError("Missing command: martlet run -- command")
        }
        guard !sandboxOptions.secrets.takesStandardInput, sandboxOptions.network.policy != "-" else {
            throw ValidationError("Standard input is the program's; take the secret or policy from a file")
        }
    }

    func run() async throws {
        var options = program
        var words = try CommandWords.parse(command, of: Self.self)
        if words.isEmpty {
            words = ShellCommand.words
            options.tty = true
        }
        options.explainMissingTerminal()
        let signals = Signals()
        let code = try await Session.with { [options, words] client in
            try await runOnce(client, signals, options.request(words), options.attachment)
        }
        throw ExitCode(code)
    }

    private func runOnce(
        _ client: MartletClient, _ signals: Signals, _ request: StartProcessRequest,
        _ attachment: ProcessSession.Attachment
    ) async throws -> Int32 {
        let sandbox = try await client.createSandbox(sandboxOptions.request(timeout: Self.leaseSeconds))
        let outcome: ProcessSession.Outcome
        do {
            if let number = signals.interruption {
                outcome = ProcessSession.Outcome(code: 128 + number, exit: nil)
            } else {
                let session = ProcessSession(
                    client: client, sandbox: sandbox.id, request: request, attachment: attachment, signals: signals,
                    lease: Self.leaseSeconds)
                outcome = try await session.run()
            }
        } catch {
            await finish(client, sandbox)
            throw error
        }
        await finish(client, sandbox)
        if summary { Console.note(Summary.line(sandbox, outcome.exit)) }
        return outcome.code
    }

    private func finish(_ client: MartletClient, _ sandbox: SandboxResource) async {
        guard rm, !keep else {
            Console.note("kept sandbox \(sandbox.id) for \(Self.leaseSeconds) s; martlet rm \(sandbox.id) removes it")
            return
        }
        do {
            try await client.deleteSandbox(sandbox.id)
        } catch let error as MartletError where error.code == .notFound {
            // It expired or ended by itself.
        } catch {
            Console.note("sandbox \(sandbox.id) could not be removed, it will expire: \(Printable.line("\(error)"))")
        }
    }
}

/// One line about a run.
enum Summary {
    static func line(_ sandbox: SandboxResource, _ exit: ProcessExitResource?) -> String {
        let isolation = sandbox.isolation
        var parts = ["\(isolation.engine), \(isolation.accelerator), \(isolation.level.rawValue)"]
        if let create = sandbox.create {
            parts.append("created in \(Format.milliseconds(create.totalMilliseconds)) (\(create.mode.rawValue))")
        }
        if let exit { parts.append("ran for \(Format.milliseconds(exit.durationMilliseconds))") }
        return parts.joined(separator: "; ")
    }
}
