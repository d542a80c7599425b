import SandboxModel

/// A command: an argument list, or one line for the sandbox's own shell.
public enum Command: Codable, Sendable, Equatable {
    case arguments([String])
    case shell(String)

    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if let line = try? container.decode(String.self) {
            self = .shell(line)
        } else if let arguments = try? container.decode([String].self) {
            self = .arguments(arguments)
        } else {
            throw DecodingError.dataCorruptedError(
                in: container, debugDescription: "must be a list of strings or one string")
        }
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        switch self {
        case .arguments(let list): try container.encode(list)
        case .shell(let line): try container.encode(line)
        }
    }

    /// What is executed in the sandbox.
    public var argumentVector: [String] {
        switch self {
        case .arguments(let list): list
        case .shell(let line): ["/bin/sh", "-c", line]
        }
    }
}

/// Body of `POST …/{id}/exec`.
public struct ExecRequest: APIRequest {
    public var cmd: Command
    public var cwd: String?
    public var env: [String: String]?
    public var user: String?
    public var stdin: String?
    public var timeoutSeconds: Double?
    public var maxOutputBytes: Int?

    public init(
        cmd: Command, cwd: String? = nil, env: [String: String]? = nil, user: String? = nil, stdin: String? = nil,
        timeoutSeconds: Double? = nil, maxOutputBytes: Int? = nil
    ) {
        self.cmd = cmd
        self.cwd = cwd
        self.env = env
        self.user = user
        self.stdin = stdin
        self.timeoutSeconds = timeoutSeconds
        self.maxOutputBytes = maxOutputBytes
    }

    enum CodingKeys: String, CodingKey, CaseIterable {
        case cmd, cwd, env, user, stdin
        case timeoutSeconds = "timeout_seconds"
        case maxOutputBytes = "max_output_bytes"
    }
    public static var fields: [String] { CodingKeys.allCases.map(\.rawValue) }
}

/// Result of `POST …/{id}/exec`. Output that is not UTF-8 comes as base 64 instead of text.
public struct ExecResult: Codable, Sendable {
    public var exitCode: Int32
    /// The signal's name, such as `SIGKILL`, when one ended the program.
    public var signal: String?
    public var stdout: String?
    public var stderr: String?
    public var stdoutBase64: String?
    public var stderrBase64: String?
    public var timedOut: Bool
    /// Whether output was left out, being over `max_output_bytes`.
    public var truncated: Bool
    public var durationMilliseconds: Double
    /// The guest's own time from start to end of the program, as its agent measured it.
    public var guestMilliseconds: Double
    /// In a recording sandbox: the number of the checkpoint taken after the program's end; nil when that failed.
    public var checkpoint: Int?
    /// What the checkpoint added to the answer's time.
    public var checkpointMilliseconds: Double?

    public init(
        exitCode: Int32, signal: String?, stdout: String?, stderr: String?, stdoutBase64: String?,
        stderrBase64: String?, timedOut: Bool, truncated: Bool, durationMilliseconds: Double,
        guestMilliseconds: Double, checkpoint: Int? = nil, checkpointMilliseconds: Double? = nil
    ) {
        self.exitCode = exitCode
        self.signal = signal
        self.stdout = stdout
        self.stderr = stderr
        self.stdoutBase64 = stdoutBase64
        self.stderrBase64 = stderrBase64
        self.timedOut = timedOut
        self.truncated = truncated
        self.durationMilliseconds = durationMilliseconds
        self.guestMilliseconds = guestMilliseconds
        self.checkpoint = checkpoint
        self.checkpointMilliseconds = checkpointMilliseconds
    }

    enum CodingKeys: String, CodingKey {
        case signal, stdout, stderr, truncated, checkpoint
        case exitCode = "exit_code"
        case stdoutBase64 = "stdout_base64"
        case stderrBase64 = "stderr_base64"
        case timedOut = "timed_out"
        case durationMilliseconds = "duration_ms"
        case guestMilliseconds = "guest_ms"
        case checkpointMilliseconds = "checkpoint_ms"
    }
}

/// Rows and columns of a terminal.
public struct TerminalSizeResource: Codable, Sendable, Equatable {
    public var rows: UInt16
    public var cols: UInt16

    public init(rows: UInt16, cols: UInt16) {
        self.rows = rows
        self.cols = cols
    }
}

/// Body of `POST …/{id}/processes`.
public struct StartProcessRequest: APIRequest {
    public var cmd: Command
    public var cwd: String?
    public var env: [String: String]?
    public var user: String?
    /// Whether standard input can be written to; else it is empty.
    public var stdin: Bool?
    public var pty: TerminalSizeResource?
    /// 0 or absent: no limit.
    public var timeoutSeconds: Double?
    /// Bytes of output kept for replay.
    public var replayBytes: Int?

    public init(
        cmd: Command, cwd: String? = nil, env: [String: String]? = nil, user: String? = nil, stdin: Bool? = nil,
        pty: TerminalSizeResource? = nil, timeoutSeconds: Double? = nil, replayBytes: Int? = nil
    ) {
        self.cmd = cmd
        self.cwd = cwd
        self.env = env
        self.user = user
        self.stdin = stdin
        self.pty = pty
        self.timeoutSeconds = timeoutSeconds
        self.replayBytes = replayBytes
    }

    enum CodingKeys: String, CodingKey, CaseIterable {
        case cmd, cwd, env, user, stdin, pty
        case timeoutSeconds = "timeout_seconds"
        case replayBytes = "replay_bytes"
    }
    public static var fields: [String] { CodingKeys.allCases.map(\.rawValue) }
}

/// How a process ended.
public struct ProcessExitResource: Codable, Sendable {
    public var exitCode: Int32
    public var signal: String?
    public var timedOut: Bool
    public var durationMilliseconds: Double
    public var cpuMilliseconds: Double
    public var maxResidentBytes: UInt64
    public var outputBytes: UInt64

    public init(
        exitCode: Int32, signal: String?, timedOut: Bool, durationMilliseconds: Double, cpuMilliseconds: Double,
        maxResidentBytes: UInt64, outputBytes: UInt64
    ) {
        self.exitCode = exitCode
        self.signal = signal
        self.timedOut = timedOut
        self.durationMilliseconds = durationMilliseconds
        self.cpuMilliseconds = cpuMilliseconds
        self.maxResidentBytes = maxResidentBytes
        self.outputBytes = outputBytes
    }

    enum CodingKeys: String, CodingKey {
        case signal
        case exitCode = "exit_code"
        case timedOut = "timed_out"
        case durationMilliseconds = "duration_ms"
        case cpuMilliseconds = "cpu_ms"
        case maxResidentBytes = "max_resident_bytes"
        case outputBytes = "output_bytes"
    }
}

/// A process started through the API, running or remembered.
public struct ProcessResource: Codable, Sendable {
    public var pid: Int32
    public var cmd: [String]
    public var cwd: String
    public var user: String
    public var pty: Bool
    public var startedAt: Timestamp
    public var running: Bool
    /// The oldest byte that `stream?from=` can still replay.
    public var firstOffset: UInt64
    public var outputBytes: UInt64
    public var exit: ProcessExitResource?

    public init(
        pid: Int32, cmd: [String], cwd: String, user: String, pty: Bool, startedAt: Timestamp, running: Bool,
        firstOffset: UInt64, outputBytes: UInt64, exit: ProcessExitResource?
    ) {
        self.pid = pid
        self.cmd = cmd
        self.cwd = cwd
        self.user = user
        self.pty = pty
        self.startedAt = startedAt
        self.running = running
        self.firstOffset = firstOffset
        self.outputBytes = outputBytes
        self.exit = exit
    }

    enum CodingKeys: String, CodingKey {
        case pid, cmd, cwd, user, pty, running, exit
        case startedAt = "started_at"
        case firstOffset = "first_offset"
        case outputBytes = "output_bytes"
    }
}

/// `data` of the server-sent events `stdout` and `stderr`: exactly one of text and base 64.
public struct OutputEvent: Codable, Sendable {
    /// Where the bytes begin in the process's whole output, both channels counted together.
    public var offset: UInt64
    public var text: String?
    public var base64: String?

    public init(offset: UInt64, text: String?, base64: String?) {
        self.offset = offset
        self.text = text
        self.base64 = base64
    }
}

/// Body of `POST …/processes/{pid}/stdin`.
public struct WriteInputRequest: APIRequest {
    public var text: String?
    public var base64: String?
    public var close: Bool?

    public init(text: String? = nil, base64: String? = nil, close: Bool? = nil) {
        self.text = text
        self.base64 = base64
        self.close = close
    }

    enum CodingKeys: String, CodingKey, CaseIterable { case text, base64, close }
    public static var fields: [String] { CodingKeys.allCases.map(\.rawValue) }
}

/// Body of `POST …/processes/{pid}/signal`: a name such as `SIGTERM` or `TERM`, or a number as text.
public struct SignalRequest: APIRequest {
    public var signal: String

    public init(signal: String) { self.signal = signal }

    enum CodingKeys: String, CodingKey, CaseIterable { case signal }
    public static var fields: [String] { CodingKeys.allCases.map(\.rawValue) }
}

/// Body of `POST …/processes/{pid}/resize`.
public struct ResizeRequest: APIRequest {
    public var rows: UInt16
    public var cols: UInt16

    public init(rows: UInt16, cols: UInt16) {
        self.rows = rows
        self.cols = cols
    }

    enum CodingKeys: String, CodingKey, CaseIterable { case rows, cols }
    public static var fields: [String] { CodingKeys.allCases.map(\.rawValue) }
}
