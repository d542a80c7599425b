import GuestProtocol
import SandboxModel

extension GuestFailure {
    /// The guest's failure as the API tells it; its text is the guest's, so it is bounded and made printable.
    package var martletError: MartletError {
        let text = String(
            message.unicodeScalars.prefix(500).map { $0.value < 32 || $0.value == 127 ? " " : Character($0) })
        return MartletError(martletCode, text, details: ["reason": reason])
    }

    private var martletCode: MartletError.Code {
        switch code {
        case .internal: .internal
        case .invalidArgument, .notDirectory, .isDirectory, .commandNotFound, .notExecutable: .invalidArgument
        case .notFound: .notFound
        case .permissionDenied: .permissionDenied
        case .alreadyExists, .notEmpty: .conflict
        case .noSpace, .limitReached: .resourceExhausted
        case .processExited: .failedPrecondition
        case .unsupported: .unsupported
        case .connectionRefused, .connectionReset: .unavailable
        case .timedOut: .timeout
        }
    }

    /// A stable word for programs that must tell failures of one code apart.
    private var reason: String {
        switch code {
        case .internal: "internal"
        case .invalidArgument: "invalid_argument"
        case .notFound: "not_found"
        case .permissionDenied: "permission_denied"
        case .alreadyExists: "already_exists"
        case .notDirectory: "not_directory"
        case .isDirectory: "is_directory"
        case .notEmpty: "not_empty"
        case .noSpace: "no_space"
        case .commandNotFound: "command_not_found"
        case .notExecutable: "not_executable"
        case .limitReached: "limit_reached"
        case .processExited: "process_exited"
        case .unsupported: "unsupported"
        case .connectionRefused: "port_closed"
        case .connectionReset: "connection_reset"
        case .timedOut: "timed_out"
        }
    }
}
