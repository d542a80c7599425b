import ControlStore
import GuestClient
import GuestProtocol
import MartletAPI
import SandboxModel
import Synchronization

/// Programs in sandboxes: run to their end, or started and followed.
package struct Processes: Sendable {
    let sandboxes: Sandboxes
    let events: Events

    /// Starts a process in the background; it goes on whether or not anybody follows it.
    ///
    /// - Throws: `invalid_argument` (also for a command that is not there, with `details.reason`), `not_found`,
    ///   `failed_precondition`, `resource_exhausted`, `unavailable`.
    package func start(
        _ sandbox: String, _ request: StartProcessRequest, caller: Caller
    ) async throws -> ProcessResource {
        var message = try Processes.message(of: request)
        message.attach = .exitOnly
        let (id, guest) = try await sandboxes.guest(of: sandbox, caller: caller)
        do {
            let process = try await guest.start(message)
            events.note(
                id, "process", "started", ["pid": "\(process.pid)", "command": message.arguments[0].printable])
            return ProcessResource(try await guest.process(process.pid))
        } catch {
            throw Processes.startFailure(error)
        }
    }

    /// Starts a process and follows it from its first byte; it waits for a follower that is slow, and goes on when the
    /// follower lets go.
    ///
    /// - Throws: as `start`.
    package func startFollowed(
        _ sandbox: String, _ request: StartProcessRequest, caller: Caller
    ) async throws -> GuestProcess {
        var message = try Processes.message(of: request)
        message.attach = .lossless
        let (id, guest) = try await sandboxes.guest(of: sandbox, caller: caller)
        do {
            let process = try await guest.start(message)
            events.note(
                id, "process", "started", ["pid": "\(process.pid)", "command": message.arguments[0].printable])
            return process
        } catch {
            throw Processes.startFailure(error)
        }
    }

    private static func message(of request: StartProcessRequest) throws(MartletError) -> StartProcess {
        var message = try CommandCheck.process(
            cmd: request.cmd, cwd: request.cwd, env: request.env, user: request.user)
        message.takesInput = request.stdin ?? (request.pty != nil)
        message.terminal = try request.pty.map { size throws(MartletError) in
            try Processes.terminal(size, field: "pty")
        }
        message.timeoutMilliseconds = try CommandCheck.milliseconds(request.timeoutSeconds ?? 0, allowsZero: true)
        message.replayBytes = try Processes.replayBytes(request.replayBytes ?? 1 << 20)
        return message
    }

    /// Every process that was started through the API and is remembered.
    package func list(_ sandbox: String, caller: Caller) async throws -> [ProcessResource] {
        let (_, guest) = try await sandboxes.guest(of: sandbox, caller: caller)
        return try await guest.processes().map(ProcessResource.init)
    }

    /// One process.
    package func get(_ sandbox: String, pid: Int32, caller: Caller) async throws -> ProcessResource {
        let (_, guest) = try await sandboxes.guest(of: sandbox, caller: caller)
        return ProcessResource(try await guest.process(pid))
    }

    /// Follows a process from a byte of its output. Letting go of the result leaves the process as it is.
    ///
    /// - Parameter lossless: the process waits for a follower that is slow, instead of going on without it.
    package func follow(
        _ sandbox: String, pid: Int32, from offset: UInt64, lossless: Bool, caller: Caller
    ) async throws -> GuestProcess {
        let (_, guest) = try await sandboxes.guest(of: sandbox, caller: caller)
        return try await guest.attach(
            AttachProcess(pid: pid, offset: offset, mode: lossless ? .lossless : .lossy))
    }

    /// Keeps a checkpoint of a recording sandbox once one of its processes has ended, however many follow that.
    package func checkpointAfterEnd(of pid: Int32, in sandbox: String, caller: Caller) async {
        guard let record = try? sandboxes.find(sandbox, caller: caller), record.isRecorded else { return }
        let id = record.id
        guard sandboxes.recordedEnds.withLock({ $0[id, default: []].insert(pid).inserted }) else { return }
        _ = await sandboxes.checkpoint(id)
    }

    /// Writes to a process's standard input, closes it, or both; returns when the process has room for all of it.
    package func write(
        _ sandbox: String, pid: Int32, _ bytes: [UInt8], close: Bool, caller: Caller
    ) async throws {
        let (_, guest) = try await sandboxes.guest(of: sandbox, caller: caller)
        try await guest.write(bytes, to: pid, close: close)
    }

    /// Signals a process's whole group.
    package func signal(_ sandbox: String, pid: Int32, _ request: SignalRequest, caller: Caller) async throws {
        guard let signal = LinuxSignal(request.signal) else {
            throw MartletError.invalid(
                "signal", "'\(request.signal.printable)' is no signal: a name such as SIGTERM, or 1-64")
        }
        let (_, guest) = try await sandboxes.guest(of: sandbox, caller: caller)
        try await guest.signal(pid, signal.number)
    }

    /// Changes the size of a process's terminal.
    package func resize(_ sandbox: String, pid: Int32, _ request: ResizeRequest, caller: Caller) async throws {
        let size = try Processes.terminal(TerminalSizeResource(rows: request.rows, cols: request.cols), field: "rows")
        let (_, guest) = try await sandboxes.guest(of: sandbox, caller: caller)
        try await guest.resize(pid, size)
    }

    /// Kills a process with its group and forgets its output.
    package func forget(_ sandbox: String, pid: Int32, caller: Caller) async throws {
        let (_, guest) = try await sandboxes.guest(of: sandbox, caller: caller)
        try await guest.forget(pid)
    }

    private static func terminal(
        _ size: TerminalSizeResource, field: String
    ) throws(MartletError) -> TerminalSize {
        guard (1...4096).contains(size.rows), (1...4096).contains(size.cols) else {
            throw .invalid(field, "a terminal has 1-4096 rows and cols")
        }
        return TerminalSize(rows: size.rows, columns: size.cols)
    }

    private static func replayBytes(_ bytes: Int) throws(MartletError) -> UInt32 {
        guard (4096...16 << 20).contains(bytes) else {
            throw .invalid("replay_bytes", "\(bytes) is outside 4096...\(16 << 20)")
        }
        return UInt32(bytes)
    }

    /// A start that failed on what the client asked for (a directory or user that is not there) is its argument's
    /// fault; `not_found` is kept for sandboxes and processes.
    static func startFailure(_ error: any Error) -> any Error {
        guard var failure = error as? MartletError, failure.code == .notFound, failure.details["reason"] != nil else {
            return error
        }
        failure.code = .invalidArgument
        return failure
    }
}
