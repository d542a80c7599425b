import ControlStore
import FoundationEssentials
import GuestClient
import GuestProtocol
import LinuxSystem
import MartletAPI
import Metrics
import SandboxModel

extension Processes {
    static let defaultOutputBytes = 1 << 20
    static let maxOutputBytes = 16 << 20
    static let defaultExecSeconds = 60.0
    /// How long after its time-out a program's end is waited for, before the guest counts as stuck.
    static let grace = Duration.seconds(15)

    /// Runs a command to its end. Whatever the program does is the result, a command that is not there included:
    /// exit code 127, or 126 for one that cannot be executed, as shells tell it.
    ///
    /// - Throws: `invalid_argument`, `not_found`, `failed_precondition`, `unavailable`, `timeout` for a guest that is
    ///   stuck (a program that runs too long is a result).
    package func exec(_ sandbox: String, _ request: ExecRequest, caller: Caller) async throws -> ExecResult {
        let stopwatch = Stopwatch()
        var message = try CommandCheck.process(
            cmd: request.cmd, cwd: request.cwd, env: request.env, user: request.user)
        message.takesInput = request.stdin != nil
        message.timeoutMilliseconds = try CommandCheck.milliseconds(
            request.timeoutSeconds ?? Processes.defaultExecSeconds, allowsZero: false)
        let limit = request.maxOutputBytes ?? Processes.defaultOutputBytes
        guard (0...Processes.maxOutputBytes).contains(limit) else {
            throw MartletError.invalid("max_output_bytes", "\(limit) is outside 0...\(Processes.maxOutputBytes)")
        }
        let (id, guest) = try await sandboxes.guest(of: sandbox, caller: caller)
        var result = try await run(message, input: request.stdin, limit: limit, guest: guest, stopwatch: stopwatch)
        Counter(label: "exec_total", dimensions: [("outcome", result.outcome)]).increment()
        events.note(
            id, "exec", result.outcome,
            ["command": message.arguments[0].printable, "exit_code": "\(result.exitCode)"])
        if sandboxes.index.record(id)?.isRecorded == true, let checkpoint = await sandboxes.checkpoint(id) {
            result.checkpoint = checkpoint.number
            result.checkpointMilliseconds = checkpoint.milliseconds
        }
        return result
    }

    private func run(
        _ message: StartProcess, input: String?, limit: Int, guest: GuestConnection, stopwatch: Stopwatch
    ) async throws -> ExecResult {
        do {
            let deadline = Duration.milliseconds(message.timeoutMilliseconds) + Processes.grace
            let outcome = try await within(deadline) {
                try await guest.exec(message, input: Array((input ?? "").utf8), outputLimit: limit)
            }
            return ExecResult(outcome, duration: stopwatch.totalMilliseconds)
        } catch let error as MartletError {
            let name = message.arguments[0].printable
            switch error.details["reason"] {
            case "command_not_found":
                return .failed(127, "\(name): command not found\n", duration: stopwatch.totalMilliseconds)
            case "not_executable":
                return .failed(126, "\(name): cannot be executed\n", duration: stopwatch.totalMilliseconds)
            default: throw Processes.startFailure(error)
            }
        }
    }

    /// Runs `work`, but no longer than `limit`.
    private func within<T: Sendable>(
        _ limit: Duration, _ work: @escaping @Sendable () async throws -> T
    ) async throws -> T {
        try await withThrowingTaskGroup(of: T.self) { group in
            group.addTask { try await work() }
            group.addTask {
                try await Task.sleep(for: limit)
                throw MartletError(.timeout, "exec: the guest did not tell the program's end in time")
            }
            defer { group.cancelAll() }
            guard let first = try await group.next() else { throw CancellationError() }
            return first
        }
    }
}

extension ExecResult {
    init(_ outcome: ExecOutcome, duration: Double) {
        let (output, outputBase64) = ExecResult.textOrBase64(outcome.standardOutput)
        let (errors, errorsBase64) = ExecResult.textOrBase64(outcome.standardError)
        self.init(
            exitCode: outcome.exit.code, signal: LinuxSignal(number: outcome.exit.signal)?.name, stdout: output,
            stderr: errors,
            stdoutBase64: outputBase64, stderrBase64: errorsBase64, timedOut: outcome.exit.timedOut,
            truncated: outcome.truncated, durationMilliseconds: duration,
            guestMilliseconds: Double(outcome.exit.wallMicroseconds) / 1000)
    }

    /// A command that never ran, told as a shell would.
    static func failed(_ code: Int32, _ message: String, duration: Double) -> ExecResult {
        ExecResult(
            exitCode: code, signal: nil, stdout: "", stderr: message, stdoutBase64: nil, stderrBase64: nil,
            timedOut: false, truncated: false, durationMilliseconds: duration, guestMilliseconds: 0)
    }

    /// One of a fixed set of words, for metrics and history.
    var outcome: String {
        if timedOut { return "timed_out" }
        if signal != nil { return "signalled" }
        return exitCode == 0 ? "succeeded" : "failed"
    }

    private static func textOrBase64(_ bytes: [UInt8]) -> (text: String?, base64: String?) {
        guard let text = String(validating: bytes, as: UTF8.self) else {
            return (nil, Data(bytes).base64EncodedString())
        }
        return (text, nil)
    }
}
