import GuestProtocol
import MartletAPI
import SandboxModel

/// Form and bounds of what a client wants executed. The whole request must fit in one frame of the guest protocol.
enum CommandCheck {
    /// Bytes of arguments, environment, directory and user together.
    static let maxBytes = 60 << 10
    static let maxArguments = 4096
    /// The longest time a program may be given, in seconds.
    static let maxTimeoutSeconds = 7.0 * 24 * 3600

    /// Builds the guest's request, without time-out and input.
    ///
    /// - Throws: `invalid_argument` naming the field.
    static func process(
        cmd: Command, cwd: String?, env: [String: String]?, user: String?
    ) throws(MartletError) -> StartProcess {
        let arguments = cmd.argumentVector
        guard let name = arguments.first, !name.isEmpty else { throw .invalid("cmd", "names no command") }
        guard arguments.count <= maxArguments else { throw .invalid("cmd", "has more than \(maxArguments) arguments") }
        guard !arguments.contains(where: { $0.utf8.contains(0) }) else { throw .invalid("cmd", "holds a NUL byte") }
        let environment = try EnvironmentCheck.pairs(env ?? [:], field: "env")
        let directory = try cwd.map { path throws(MartletError) in try GuestPath.checked(path, field: "cwd") } ?? ""
        let user = try userName(user ?? "", field: "user")
        // Each string takes four more bytes for its length.
        let size = (arguments + environment).reduce(directory.utf8.count + user.utf8.count) { $0 + $1.utf8.count + 4 }
        guard size <= maxBytes else {
            throw .invalid(
                "cmd", "is larger than \(maxBytes) bytes together with env; put bulk data in a file or stdin")
        }
        return StartProcess(
            arguments: arguments, environment: environment, workingDirectory: directory, user: user)
    }

    /// A user of the guest: a name or number, or `user:group`.
    static func userName(_ text: String, field: String) throws(MartletError) -> String {
        let isAllowed = { (byte: UInt8) in byte.isLetter || byte.isDigit || "_.-:$".utf8.contains(byte) }
        guard text.utf8.count <= 65, text.utf8.allSatisfy(isAllowed), text.utf8.count(where: { $0 == 0x3A }) <= 1 else {
            throw .invalid(field, "must be a user's name or number, or user:group")
        }
        return text
    }

    /// Milliseconds of a time-out given in seconds.
    static func milliseconds(_ seconds: Double, allowsZero: Bool) throws(MartletError) -> UInt64 {
        guard seconds.isFinite, allowsZero ? seconds >= 0 : seconds > 0, seconds <= maxTimeoutSeconds else {
            let start = allowsZero ? "from 0" : "above 0"
            throw .invalid("timeout_seconds", "\(seconds) is not \(start) up to \(Int(maxTimeoutSeconds))")
        }
        return seconds == 0 ? 0 : max(1, UInt64((seconds * 1000).rounded()))
    }
}
