import ArgumentParser
import Glibc
import NIOCore
import SandboxModel

/// The `martlet` program, from its arguments to its exit code.
package enum CommandLineProgram {
    /// Runs the verb that the arguments name and ends the process with its exit code.
    package static func main() async -> Never {
        signal(SIGPIPE, SIG_IGN)
        do {
            let arguments = try RawArguments.checked()
            // A client needs one thread for its connections; the daemon one per processor.
            if arguments.first != "serve" { NIOSingletons.groupLoopCountSuggestion = 1 }
            var command = try MartletCommand.parseAsRoot(arguments)
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                try command.run()
            }
            leave(0)
        } catch {
            leave(report(error))
        }
    }

    /// Tells the user about an error and returns the exit code that goes with it.
    private static func report(_ error: any Error) -> Int32 {
        switch error {
        case let code as ExitCode:
            return code.rawValue
        case let error as MartletError:
            Console.complain(error)
            return ExitStatus.code(for: error)
        case is CancellationError:
            Console.note("interrupted")
            return ExitStatus.failure
        default:
            let text = MartletCommand.fullMessage(for: error)
            guard MartletCommand.exitCode(for: error) != .success else {
                Console.print(text)
                return 0
            }
            Console.note(Printable.lines(text.hasPrefix("Error: ") ? String(text.dropFirst(7)) : text))
            return ExitStatus.failure
        }
    }

    /// Ends the process at once: what had to be written is written, and no other thread is waited for.
    static func leave(_ code: Int32) -> Never {
        UserTerminal.restore()
        fflush(nil)
        _exit(code)
    }
}
