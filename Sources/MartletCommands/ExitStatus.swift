import MartletAPI
import SandboxModel

/// Exit codes, as docker's.
enum ExitStatus {
    /// A program's time was over.
    static let timedOut: Int32 = 124
    /// Something of ours failed, not the program.
    static let failure: Int32 = 125
    /// The program is there but cannot be executed.
    static let notExecutable: Int32 = 126
    /// There is no such program.
    static let notFound: Int32 = 127

    /// The exit code for an error of ours.
    static func code(for error: MartletError) -> Int32 {
        switch error.details["reason"] {
        case "command_not_found": notFound
        case "not_executable": notExecutable
        default: error.code.exitCode
        }
    }

    /// The exit code for the way a program ended.
    static func code(for exit: ProcessExitResource) -> Int32 {
        if exit.timedOut { return timedOut }
        if let signal = exit.signal.flatMap({ LinuxSignal($0) }) { return 128 + signal.number }
        return exit.exitCode
    }
}
