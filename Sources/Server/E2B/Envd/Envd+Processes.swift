import ControlPlane
import E2BProtocol
import GuestClient
import GuestProtocol
import Hummingbird
import MartletAPI
import SandboxModel

/// `process.Process`.
extension Envd {
    func start(_ call: EnvdCall) async throws -> Response {
        let message = try await call.message(StartRequest.self)
        guard let config = message.process, !config.cmd.isEmpty else {
            throw ConnectError(.invalidArgument, "process.cmd is missing")
        }
        let user = try call.user()
        let request = try await startRequest(message, config, user: user, call)
        return try ConnectStream.response(
            call, alive: ProcessEventResponse(.keepalive), heartbeat: heartbeat
        ) { [processes, tags] sink in
            let process = try await processes.startFollowed(call.id, request, caller: call.caller)
            tags.note(
                ProcessTags.Entry(pid: process.pid, tag: message.tag, environment: config.envs ?? [:]), of: call.id)
            try await Envd.tell(process, hasTerminal: request.pty != nil, of: call, processes, to: sink)
        }
    }

    private func startRequest(
        _ message: StartRequest, _ config: ProcessConfig, user: String, _ call: EnvdCall
    ) async throws -> StartProcessRequest {
        var environment = [
            "E2B_SANDBOX": "true", "E2B_SANDBOX_ID": call.id,
            "E2B_TEMPLATE_ID": call.settings?.templateID ?? call.sandbox.template,
        ]
        environment.merge(config.envs ?? [:]) { $1 }
        let directory = config.cwd ?? ""
        return StartProcessRequest(
            cmd: .arguments([config.cmd] + (config.args ?? [])),
            cwd: directory.isEmpty
                ? call.settings?.workingDirectory : try await resolve(directory, user: user, call),
            env: environment, user: user, stdin: message.pty != nil || message.stdin ?? true,
            pty: try message.pty.map { pty throws(ConnectError) in try Envd.size(pty) })
    }

    private static func size(_ pty: PTYMessage) throws(ConnectError) -> TerminalSizeResource {
        guard let rows = UInt16(exactly: pty.size?.rows ?? 24), let cols = UInt16(exactly: pty.size?.cols ?? 80) else {
            throw ConnectError(.invalidArgument, "pty.size is too large")
        }
        return TerminalSizeResource(rows: max(1, rows), cols: max(1, cols))
    }

    func connect(_ call: EnvdCall) async throws -> Response {
        let message = try await call.message(ProcessRequest.self)
        return try ConnectStream.response(
            call, alive: ProcessEventResponse(.keepalive), heartbeat: heartbeat
        ) { [self] sink in
            let known = try await process(message.process, call)
            // Who comes back to a process that has ended meanwhile is given what is left of its output.
            let from = known.running && message.replay != true ? known.outputBytes : 0
            let process = try await processes.follow(
                call.id, pid: known.pid, from: from, lossless: true, caller: call.caller)
            try await Envd.tell(process, hasTerminal: known.pty, of: call, processes, to: sink)
        }
    }

    /// Tells all that a process does.
    private static func tell(
        _ process: GuestProcess, hasTerminal: Bool, of call: EnvdCall, _ processes: Processes, to sink: ConnectSink
    ) async throws {
        try await sink.send(ProcessEventResponse(.start(pid: UInt32(bitPattern: process.pid))))
        while let element = try await process.next() {
            switch element {
            case .output(let channel, _, let bytes):
                let event: ProcessEventResponse.Event =
                    hasTerminal
                    ? .pty(Array(bytes))
                    : channel == .standardOutput ? .stdout(Array(bytes)) : .stderr(Array(bytes))
                try await sink.send(ProcessEventResponse(event))
            case .exit(let exit):
                await processes.checkpointAfterEnd(of: process.pid, in: call.id, caller: call.caller)
                try await sink.send(ProcessEventResponse(.end(exit)))
            }
        }
    }

    func list(_ call: EnvdCall) async throws -> Response {
        _ = try await call.message(EmptyResponse.self)
        let running = try await processes.list(call.id, caller: call.caller).filter(\.running)
        return try call.answer(
            ListProcessesResponse(
                processes: running.map { process in
                    let entry = tags.entry(process.pid, of: call.id)
                    return .init(
                        config: ProcessConfig(
                            cmd: process.cmd.first ?? "", args: Array(process.cmd.dropFirst()),
                            envs: entry?.environment ?? [:], cwd: process.cwd.isEmpty ? nil : process.cwd),
                        pid: UInt32(bitPattern: process.pid), tag: entry?.tag)
                }))
    }

    func update(_ call: EnvdCall) async throws -> Response {
        let message = try await call.message(UpdateRequest.self)
        let pid = try running(message.process, call)
        if let pty = message.pty {
            let size = try Envd.size(pty)
            try await processes.resize(
                call.id, pid: pid, ResizeRequest(rows: size.rows, cols: size.cols), caller: call.caller)
        }
        return try call.answer(EmptyResponse())
    }

    func sendInput(_ call: EnvdCall) async throws -> Response {
        let message = try await call.message(SendInputRequest.self)
        let pid = try running(message.process, call)
        let bytes = message.input?.bytes ?? []
        try await call.context.whileClientStays { [processes] in
            try await processes.write(call.id, pid: pid, bytes, close: false, caller: call.caller)
        }
        return try call.answer(EmptyResponse())
    }

    /// Input as it comes; each message is with the process before the next one is read.
    func streamInput(_ call: EnvdCall) async throws -> Response {
        try call.checkStreaming()
        var decoder = ConnectFrameDecoder()
        var pid: Int32?
        for try await buffer in call.request.body {
            decoder.append(buffer.readableBytesView)
            while let frame = try decoder.next() {
                let message = try ProtoJSON.decode(StreamInputRequest.self, from: frame.payload)
                if let start = message.start { pid = try running(start.process, call) }
                guard let bytes = message.data?.input?.bytes else { continue }
                guard let pid else { throw ConnectError(.invalidArgument, "data came before the process was named") }
                try await call.context.whileClientStays { [processes] in
                    try await processes.write(call.id, pid: pid, bytes, close: false, caller: call.caller)
                }
            }
        }
        guard !decoder.isInsideFrame else { throw ConnectError(.invalidArgument, "the stream ended inside a message") }
        return try call.answer(EmptyResponse())
    }

    func closeStdin(_ call: EnvdCall) async throws -> Response {
        let message = try await call.message(ProcessRequest.self)
        let known = try await process(message.process, call)
        guard !known.pty else {
            throw ConnectError(.failedPrecondition, "cannot close stdin of a terminal; send Ctrl+D (0x04) instead")
        }
        try await processes.write(call.id, pid: known.pid, [], close: true, caller: call.caller)
        return try call.answer(EmptyResponse())
    }

    func sendSignal(_ call: EnvdCall) async throws -> Response {
        let message = try await call.message(SendSignalRequest.self)
        let signal: String
        switch message.signal?.value {
        case .kill: signal = "SIGKILL"
        case .terminate: signal = "SIGTERM"
        case .unspecified, nil: throw ConnectError(.unimplemented, "signal is neither SIGTERM nor SIGKILL")
        }
        let known = try await process(message.process, call)
        guard known.running else { throw Envd.noProcess(known.pid) }
        try await processes.signal(call.id, pid: known.pid, SignalRequest(signal: signal), caller: call.caller)
        return try call.answer(EmptyResponse())
    }

    // MARK: Naming processes

    /// The number a selector names; whether there is such a process is for the guest to say.
    private func running(_ selector: ProcessSelector?, _ call: EnvdCall) throws(ConnectError) -> Int32 {
        if let tag = selector?.tag {
            guard let pid = tags.pid(tagged: tag, in: call.id) else {
                throw ConnectError(.notFound, "process with tag \(tag.prefix(64)) not found")
            }
            return pid
        }
        guard let number = selector?.pid else { throw ConnectError(.invalidArgument, "process names none") }
        guard let pid = Int32(exactly: number), pid > 0 else {
            throw ConnectError(.notFound, "process with pid \(number) not found")
        }
        return pid
    }

    private func process(_ selector: ProcessSelector?, _ call: EnvdCall) async throws -> ProcessResource {
        let pid = try running(selector, call)
        do {
            return try await processes.get(call.id, pid: pid, caller: call.caller)
        } catch let error as MartletError where error.code == .notFound && error.details["sandbox"] == nil {
            throw Envd.noProcess(pid)
        }
    }

    private static func noProcess(_ pid: Int32) -> ConnectError {
        ConnectError(.notFound, "process with pid \(pid) not found")
    }
}

extension ProcessEventResponse.Event {
    /// How a process ended, in the words of Go's `ProcessState`, which clients know; killed by a signal it has no code.
    static func end(_ exit: ProcessExit) -> ProcessEventResponse.Event {
        let isSignalled = exit.signal > 0
        let status = isSignalled ? "signal: \(words(exit.signal))" : "exit status \(exit.code)"
        return .end(
            exitCode: isSignalled ? -1 : exit.code, exited: !isSignalled, status: status,
            error: isSignalled || exit.code != 0 ? status : nil)
    }

    private static func words(_ signal: Int32) -> String {
        switch signal {
        case 1: "hangup"
        case 2: "interrupt"
        case 3: "quit"
        case 4: "illegal instruction"
        case 5: "trace/breakpoint trap"
        case 6: "aborted"
        case 7: "bus error"
        case 8: "floating point exception"
        case 9: "killed"
        case 10: "user defined signal 1"
        case 11: "segmentation fault"
        case 12: "user defined signal 2"
        case 13: "broken pipe"
        case 14: "alarm clock"
        case 15: "terminated"
        default: "signal \(signal)"
        }
    }
}
