/// A terminal's size in characters.
public struct TerminalSize: WireMessage {
    public var rows: UInt16
    public var columns: UInt16

    public init(rows: UInt16, columns: UInt16) {
        self.rows = rows
        self.columns = columns
    }

    public func write(to writer: inout WireWriter) {
        writer.u16(rows)
        writer.u16(columns)
    }

    public init(from reader: inout WireReader) throws(WireError) {
        rows = try reader.u16()
        columns = try reader.u16()
    }
}

/// How a stream follows a process's output.
public enum AttachMode: UInt8, Sendable, CaseIterable {
    /// The stream carries no output; it ends when the process does.
    case exitOnly = 0
    /// The process never waits: what is not read in time is dropped, oldest first, and the offset tells.
    case lossy = 1
    /// The process waits while the replay buffer is full of bytes this stream has not taken yet.
    case lossless = 2
}

/// Starts a process. The stream replies with `ProcessStarted`, carries output as `OutputData` and takes standard
/// input as data, and ends with `ProcessExit`. Cancelling the stream only detaches from the process.
public struct StartProcess: WireMessage {
    /// The command and its arguments; a command without a slash is looked up in PATH.
    public var arguments: [String]
    /// `NAME=value` pairs, over the guest's defaults.
    public var environment: [String]
    /// Empty: the user's home.
    public var workingDirectory: String
    /// A name or number from /etc/passwd, or `user:group`; empty: root.
    public var user: String
    /// Whether standard input is a pipe (or the terminal) the host may write to; else it is /dev/null.
    public var takesInput: Bool
    /// Runs on a pseudo-terminal of this size.
    public var terminal: TerminalSize?
    /// The whole process group is killed after this long; 0 is never.
    public var timeoutMilliseconds: UInt64
    public var attach: AttachMode
    /// Bytes of output kept for replay.
    public var replayBytes: UInt32

    public init(
        arguments: [String], environment: [String] = [], workingDirectory: String = "", user: String = "",
        takesInput: Bool = false, terminal: TerminalSize? = nil, timeoutMilliseconds: UInt64 = 0,
        attach: AttachMode = .lossless, replayBytes: UInt32 = 262_144
    ) {
        self.arguments = arguments
        self.environment = environment
        self.workingDirectory = workingDirectory
        self.user = user
        self.takesInput = takesInput
        self.terminal = terminal
        self.timeoutMilliseconds = timeoutMilliseconds
        self.attach = attach
        self.replayBytes = replayBytes
    }

    public func write(to writer: inout WireWriter) {
        writer.strings(arguments)
        writer.strings(environment)
        writer.string(workingDirectory)
        writer.string(user)
        writer.bool(takesInput)
        writer.bool(terminal != nil)
        (terminal ?? TerminalSize(rows: 0, columns: 0)).write(to: &writer)
        writer.u64(timeoutMilliseconds)
        writer.u8(attach.rawValue)
        writer.u32(replayBytes)
    }

    public init(from reader: inout WireReader) throws(WireError) {
        arguments = try reader.strings()
        environment = try reader.strings()
        workingDirectory = try reader.string()
        user = try reader.string()
        takesInput = try reader.bool()
        let hasTerminal = try reader.bool()
        let size = try TerminalSize(from: &reader)
        terminal = hasTerminal ? size : nil
        timeoutMilliseconds = try reader.u64()
        attach = try AttachMode(from: &reader)
        replayBytes = try reader.u32()
    }
}

extension AttachMode {
    init(from reader: inout WireReader) throws(WireError) {
        let number = try reader.u8()
        guard let mode = AttachMode(rawValue: number) else { throw WireError("attach mode \(number) is unknown") }
        self = mode
    }
}

/// Reply to `startProcess` and `attachProcess`.
public struct ProcessStarted: WireMessage {
    /// The guest's pid, which also names the process in every later message.
    public var pid: Int32

    public init(pid: Int32) { self.pid = pid }
    public func write(to writer: inout WireWriter) { writer.i32(pid) }
    public init(from reader: inout WireReader) throws(WireError) { pid = try reader.i32() }
}

/// Follows a process from a byte offset of its output (both channels counted together, in the order they came).
public struct AttachProcess: WireMessage {
    public var pid: Int32
    public var offset: UInt64
    public var mode: AttachMode

    public init(pid: Int32, offset: UInt64, mode: AttachMode) {
        self.pid = pid
        self.offset = offset
        self.mode = mode
    }

    public func write(to writer: inout WireWriter) {
        writer.i32(pid)
        writer.u64(offset)
        writer.u8(mode.rawValue)
    }

    public init(from reader: inout WireReader) throws(WireError) {
        pid = try reader.i32()
        offset = try reader.u64()
        mode = try AttachMode(from: &reader)
    }
}

/// A piece of output: a data frame whose `flags` is an `OutputChannel`. An offset past the last one's end tells
/// that bytes between were dropped.
public struct OutputData: WireMessage {
    public static let prefixLength = 8
    public var offset: UInt64
    public var bytes: [UInt8]

    public init(offset: UInt64, bytes: [UInt8]) {
        self.offset = offset
        self.bytes = bytes
    }

    public func write(to writer: inout WireWriter) {
        writer.u64(offset)
        for byte in bytes { writer.u8(byte) }
    }

    public init(from reader: inout WireReader) throws(WireError) {
        offset = try reader.u64()
        bytes = reader.rest()
    }
}

/// How a process ended: the end of its stream.
public struct ProcessExit: WireMessage {
    /// The exit code, or 128 + signal as shells count.
    public var code: Int32
    /// The signal that ended it, or 0.
    public var signal: Int32
    /// Whether our time-out was what killed it.
    public var timedOut: Bool
    public var wallMicroseconds: UInt64
    public var userMicroseconds: UInt64
    public var systemMicroseconds: UInt64
    public var maxResidentBytes: UInt64
    /// All output it ever made, both channels.
    public var outputBytes: UInt64

    public init(
        code: Int32, signal: Int32, timedOut: Bool, wallMicroseconds: UInt64, userMicroseconds: UInt64,
        systemMicroseconds: UInt64, maxResidentBytes: UInt64, outputBytes: UInt64
    ) {
        self.code = code
        self.signal = signal
        self.timedOut = timedOut
        self.wallMicroseconds = wallMicroseconds
        self.userMicroseconds = userMicroseconds
        self.systemMicroseconds = systemMicroseconds
        self.maxResidentBytes = maxResidentBytes
        self.outputBytes = outputBytes
    }

    public func write(to writer: inout WireWriter) {
        writer.i32(code)
        writer.i32(signal)
        writer.bool(timedOut)
        for value in [wallMicroseconds, userMicroseconds, systemMicroseconds, maxResidentBytes, outputBytes] {
            writer.u64(value)
        }
    }

    public init(from reader: inout WireReader) throws(WireError) {
        code = try reader.i32()
        signal = try reader.i32()
        timedOut = try reader.bool()
        wallMicroseconds = try reader.u64()
        userMicroseconds = try reader.u64()
        systemMicroseconds = try reader.u64()
        maxResidentBytes = try reader.u64()
        outputBytes = try reader.u64()
    }
}

/// One process the agent knows, running or remembered.
public struct ProcessInfo: WireMessage {
    public var pid: Int32
    public var arguments: [String]
    public var workingDirectory: String
    public var user: String
    public var hasTerminal: Bool
    /// Milliseconds since 1970 on the guest's clock.
    public var startedMilliseconds: Int64
    /// The oldest byte of output that can still be replayed.
    public var firstOffset: UInt64
    public var outputBytes: UInt64
    public var exit: ProcessExit?

    public init(
        pid: Int32, arguments: [String], workingDirectory: String, user: String, hasTerminal: Bool,
        startedMilliseconds: Int64, firstOffset: UInt64, outputBytes: UInt64, exit: ProcessExit?
    ) {
        self.pid = pid
        self.arguments = arguments
        self.workingDirectory = workingDirectory
        self.user = user
        self.hasTerminal = hasTerminal
        self.startedMilliseconds = startedMilliseconds
        self.firstOffset = firstOffset
        self.outputBytes = outputBytes
        self.exit = exit
    }

    public func write(to writer: inout WireWriter) {
        writer.i32(pid)
        writer.strings(arguments)
        writer.string(workingDirectory)
        writer.string(user)
        writer.bool(hasTerminal)
        writer.i64(startedMilliseconds)
        writer.u64(firstOffset)
        writer.u64(outputBytes)
        writer.bool(exit != nil)
        exit?.write(to: &writer)
    }

    public init(from reader: inout WireReader) throws(WireError) {
        pid = try reader.i32()
        arguments = try reader.strings()
        workingDirectory = try reader.string()
        user = try reader.string()
        hasTerminal = try reader.bool()
        startedMilliseconds = try reader.i64()
        firstOffset = try reader.u64()
        outputBytes = try reader.u64()
        exit = try reader.bool() ? ProcessExit(from: &reader) : nil
    }
}

/// End of `listProcesses`: every process the agent started and still remembers.
public struct ProcessList: WireMessage {
    public var processes: [ProcessInfo]

    public init(_ processes: [ProcessInfo]) { self.processes = processes }

    public func write(to writer: inout WireWriter) {
        writer.u32(UInt32(truncatingIfNeeded: processes.count))
        for process in processes { process.write(to: &writer) }
    }

    public init(from reader: inout WireReader) throws(WireError) {
        let count = Int(try reader.u32())
        guard count <= reader.remaining else { throw WireError("a list runs past the end") }
        processes = []
        for _ in 0..<count { processes.append(try ProcessInfo(from: &reader)) }
    }
}

/// Names one process: `inspectProcess` and `forgetProcess`, which kills it first if it still runs.
public struct ProcessReference: WireMessage {
    public var pid: Int32

    public init(pid: Int32) { self.pid = pid }
    public func write(to writer: inout WireWriter) { writer.i32(pid) }
    public init(from reader: inout WireReader) throws(WireError) { pid = try reader.i32() }
}

/// Sends a signal to a process's whole group.
public struct SignalProcess: WireMessage {
    public var pid: Int32
    public var signal: Int32

    public init(pid: Int32, signal: Int32) {
        self.pid = pid
        self.signal = signal
    }

    public func write(to writer: inout WireWriter) {
        writer.i32(pid)
        writer.i32(signal)
    }

    public init(from reader: inout WireReader) throws(WireError) {
        pid = try reader.i32()
        signal = try reader.i32()
    }
}

/// Sets the size of a process's terminal.
public struct ResizeTerminal: WireMessage {
    public var pid: Int32
    public var size: TerminalSize

    public init(pid: Int32, size: TerminalSize) {
        self.pid = pid
        self.size = size
    }

    public func write(to writer: inout WireWriter) {
        writer.i32(pid)
        size.write(to: &writer)
    }

    public init(from reader: inout WireReader) throws(WireError) {
        pid = try reader.i32()
        size = try TerminalSize(from: &reader)
    }
}

/// Opens a stream whose data goes to a process's standard input; its end frame, once all is written, closes the
/// input if `closes`.
public struct WriteInput: WireMessage {
    public var pid: Int32
    public var closes: Bool

    public init(pid: Int32, closes: Bool) {
        self.pid = pid
        self.closes = closes
    }

    public func write(to writer: inout WireWriter) {
        writer.i32(pid)
        writer.bool(closes)
    }

    public init(from reader: inout WireReader) throws(WireError) {
        pid = try reader.i32()
        closes = try reader.bool()
    }
}
