import Glibc
import LinuxSystem
import MartletAPI
import MartletClient
import SandboxModel

/// A program in a sandbox, tied to our own terminal or pipes: output, input, signals, size, and its end.
struct ProcessSession: Sendable {
    /// How our streams are tied to the program's.
    struct Attachment: Sendable {
        /// Pass standard input on.
        var input: Bool
        /// The program runs on a terminal, which is ours.
        var terminal: Bool
    }

    let client: MartletClient
    let sandbox: String
    var request: StartProcessRequest
    let attachment: Attachment
    let signals: Signals
    /// Keeps the sandbox from expiring for as long as the program runs, by this much at a time.
    var lease: Int?

    /// How a program ended for us.
    struct Outcome: Sendable {
        var code: Int32
        /// Nil when we did not wait for its end, nobody reading what it writes.
        var exit: ProcessExitResource?
    }

    /// Starts the program and returns when it has ended.
    func run() async throws -> Outcome {
        var request = request
        request.stdin = attachment.input ? true : nil
        if attachment.terminal {
            let size = UserTerminal.size ?? (24, 80)
            request.pty = TerminalSizeResource(rows: size.rows, cols: size.columns)
        }
        let process = try await client.startProcess(sandbox, request)
        if attachment.terminal { try UserTerminal.makeRaw() }
        defer { UserTerminal.restore() }
        signals.setPatience(2)
        return try await follow(process.pid)
    }

    private func follow(_ pid: Int32) async throws -> Outcome {
        try await withThrowingTaskGroup(of: Outcome?.self) { group in
            group.addTask { try await pumpOutput(pid) }
            group.addTask {
                await forwardSignals(pid)
                return nil
            }
            if attachment.input {
                group.addTask {
                    try await pumpInput(pid)
                    return nil
                }
            }
            if let lease {
                group.addTask {
                    await extendLease(lease)
                    return nil
                }
            }
            defer { group.cancelAll() }
            while let finished = try await group.next() {
                if let outcome = finished { return outcome }
            }
            throw CancellationError()
        }
    }

    // MARK: The four directions

    private func pumpOutput(_ pid: Int32) async throws -> Outcome {
        for try await event in client.processEvents(sandbox, pid) {
            switch event {
            case .output(let channel, let bytes):
                do {
                    let writer: OutputWriter = channel == .stdout ? .standardOutput : .standardError
                    try await writer.write(bytes)
                } catch let error as SystemError where error.errno == EPIPE {
                    // Our reader has gone, so the program's has: it gets what it would get on the host.
                    try? await client.signal(sandbox, pid, "SIGPIPE")
                    try? await client.signal(sandbox, pid, "SIGKILL")
                    return Outcome(code: 128 + SIGPIPE, exit: nil)
                }
            case .lost(let bytes):
                Console.note("\(bytes) bytes of output were lost: they came faster than they could be kept")
            case .exit(let exit):
                return Outcome(code: ExitStatus.code(for: exit), exit: exit)
            }
        }
        throw MartletError(.unavailable, "process \(pid): its stream ended without telling how the process did")
    }

    private func pumpInput(_ pid: Int32) async throws {
        let input = try StandardInput()
        do {
            while let bytes = try await input.next() {
                try await client.writeInput(sandbox, pid, bytes)
            }
            if !Task.isCancelled { try await client.writeInput(sandbox, pid, [UInt8](), close: true) }
        } catch let error as MartletError
            where [.failedPrecondition, .notFound, .conflict, .invalidArgument].contains(error.code)
        {
            // The program has ended or does not read any more; its exit tells the rest.
        } catch is CancellationError {
            return
        }
    }

    private func forwardSignals(_ pid: Int32) async {
        var interruptions = 0
        for await number in signals.stream {
            if number == SIGWINCH {
                guard attachment.terminal, let size = UserTerminal.size else { continue }
                try? await client.resize(sandbox, pid, rows: size.rows, columns: size.columns)
                continue
            }
            interruptions += 1
            // Whoever asks a second time does not want to wait for the program's consent.
            let name = interruptions == 1 ? LinuxSignal(number: number)?.name : nil
            try? await client.signal(sandbox, pid, name ?? "SIGKILL")
        }
    }

    private func extendLease(_ seconds: Int) async {
        while !Task.isCancelled {
            try? await Task.sleep(for: .seconds(seconds) / 3)
            if Task.isCancelled { return }
            // A failure shows soon enough: the output stream breaks too.
            _ = try? await client.updateSandbox(sandbox, UpdateSandboxRequest(timeoutSeconds: seconds))
        }
    }
}
