import GuestProtocol
import SandboxModel

/// A process and the stream that follows it.
package struct GuestProcess: Sendable {
    package let pid: Int32
    package let stream: GuestStream

    /// The next piece of output or the end; nil after the end.
    package func next() async throws -> ProcessElement? {
        while let element = try await stream.next() {
            switch element {
            case .reply: continue
            case .data(let flags, let bytes):
                guard let channel = OutputChannel(rawValue: flags), bytes.count > OutputData.prefixLength else {
                    throw MartletError(.unavailable, "guest: it sent output that cannot be read")
                }
                var offset: UInt64 = 0
                for index in (0..<OutputData.prefixLength).reversed() { offset = offset << 8 | UInt64(bytes[index]) }
                return .output(channel, offset: offset, bytes: bytes[OutputData.prefixLength...])
            case .end(let payload):
                guard let exit = try? ProcessExit(decoding: payload) else {
                    throw MartletError(.unavailable, "guest: it sent an exit that cannot be read")
                }
                return .exit(exit)
            }
        }
        return nil
    }
}

/// What a process does, as told by its stream.
package enum ProcessElement: Sendable {
    case output(OutputChannel, offset: UInt64, bytes: ArraySlice<UInt8>)
    case exit(ProcessExit)
}

/// A finished command: `GuestConnection.exec`.
package struct ExecOutcome: Sendable {
    package var pid: Int32
    package var exit: ProcessExit
    package var standardOutput: [UInt8]
    package var standardError: [UInt8]
    package var truncated: Bool
}

extension GuestConnection {
    /// Starts a process; returns when it runs.
    ///
    /// - Throws: `invalid_argument` with `details.reason` `command_not_found` or `not_executable`, or another error of
    ///   the guest.
    package func start(_ request: StartProcess, window: Int = 262_144) async throws -> GuestProcess {
        try await follow(open(.startProcess, request.encoded, window: window))
    }

    /// Starts a service: a process that the agent starts again whenever it ends, in this guest and in every copy of it.
    ///
    /// - Returns: the pid of the first process.
    /// - Throws: what `start` throws, when it could not be started at all.
    package func supervise(_ request: StartProcess) async throws -> Int32 {
        let started: ProcessStarted = try await call(.superviseProcess, request.encoded)
        return started.pid
    }

    /// Follows a process that was started earlier, from a byte of its output.
    package func attach(_ request: AttachProcess, window: Int = 262_144) async throws -> GuestProcess {
        try await follow(open(.attachProcess, request.encoded, window: window))
    }

    private func follow(_ stream: GuestStream) async throws -> GuestProcess {
        while let element = try await stream.next() {
            guard case .reply(let payload) = element, let started = try? ProcessStarted(decoding: payload) else {
                break
            }
            return GuestProcess(pid: started.pid, stream: stream)
        }
        throw MartletError(.unavailable, "guest: it did not say which process it started")
    }

    /// Runs a command to its end and keeps up to `outputLimit` bytes of its output; what is over is drained in the
    /// guest, so that the program is not held up.
    package func exec(_ request: StartProcess, input: [UInt8] = [], outputLimit: Int) async throws -> ExecOutcome {
        let process = try await start(request)
        return try await withThrowingTaskGroup(of: Void.self) { group in
            if request.takesInput {
                group.addTask {
                    // A program that ends without reading its input is no error.
                    try? await process.stream.send(input)
                    process.stream.finish()
                }
            }
            let outcome = try await collect(process, limit: outputLimit)
            group.cancelAll()
            return outcome
        }
    }

    private func collect(_ process: GuestProcess, limit: Int) async throws -> ExecOutcome {
        var output: [UInt8] = []
        var errors: [UInt8] = []
        var room = limit
        while let element = try await process.next() {
            switch element {
            case .output(let channel, _, let bytes):
                let kept = bytes.prefix(room)
                room -= kept.count
                switch channel {
                case .standardOutput: output.append(contentsOf: kept)
                case .standardError: errors.append(contentsOf: kept)
                }
                if kept.count < bytes.count {
                    let exit = try await exitOnly(process)
                    return ExecOutcome(
                        pid: process.pid, exit: exit, standardOutput: output, standardError: errors, truncated: true)
                }
            case .exit(let exit):
                return ExecOutcome(
                    pid: process.pid, exit: exit, standardOutput: output, standardError: errors, truncated: false)
            }
        }
        throw MartletError(.unavailable, "guest: the process's stream ended without its exit")
    }

    /// Waits for a process's end without its output, which is dropped from now on.
    private func exitOnly(_ followed: GuestProcess) async throws -> ProcessExit {
        let process = try await attach(AttachProcess(pid: followed.pid, offset: .max, mode: .exitOnly))
        followed.stream.cancel()
        while let element = try await process.next() {
            if case .exit(let exit) = element { return exit }
        }
        throw MartletError(.unavailable, "guest: the process's stream ended without its exit")
    }

    /// Every process started through the agent that it still remembers.
    package func processes() async throws -> [ProcessInfo] {
        let list: ProcessList = try await call(.listProcesses)
        return list.processes
    }

    /// One process.
    package func process(_ pid: Int32) async throws -> ProcessInfo {
        try await call(.inspectProcess, ProcessReference(pid: pid).encoded)
    }

    /// Signals a process's whole group.
    package func signal(_ pid: Int32, _ signal: Int32) async throws {
        _ = try await callForPayload(.signalProcess, SignalProcess(pid: pid, signal: signal).encoded)
    }

    /// Kills a process with its group, and forgets its output.
    package func forget(_ pid: Int32) async throws {
        _ = try await callForPayload(.forgetProcess, ProcessReference(pid: pid).encoded)
    }

    /// Changes a terminal's size.
    package func resize(_ pid: Int32, _ size: TerminalSize) async throws {
        _ = try await callForPayload(.resizeTerminal, ResizeTerminal(pid: pid, size: size).encoded)
    }

    /// Writes to a process's standard input; returns when the process has room for all of it.
    package func write(_ bytes: [UInt8], to pid: Int32, close: Bool) async throws {
        let stream = open(.writeInput, WriteInput(pid: pid, closes: close).encoded)
        try await stream.send(bytes)
        stream.finish()
        while let element = try await stream.next() {
            if case .end = element { return }
        }
    }
}
