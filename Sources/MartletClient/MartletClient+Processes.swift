import FoundationEssentials
import MartletAPI
import SandboxModel

extension MartletClient {
    /// Runs a command to its end and returns what it wrote.
    ///
    /// - Throws: `invalid_argument` with `details["reason"]` `command_not_found` or `not_executable`.
    public func exec(_ sandbox: String, _ request: ExecRequest) async throws -> ExecResult {
        try await transport.json(try transport.with(request, APICall(.POST, "v1", "sandboxes", sandbox, "exec")))
    }

    /// Starts a command in the background.
    ///
    /// - Throws: as ``exec(_:_:)``.
    public func startProcess(_ sandbox: String, _ request: StartProcessRequest) async throws -> ProcessResource {
        try await transport.json(try transport.with(request, processes(.POST, sandbox)))
    }

    /// The processes started in a sandbox, running and remembered.
    public func processes(_ sandbox: String) async throws -> [ProcessResource] {
        let page: Page<ProcessResource> = try await transport.json(processes(.GET, sandbox))
        return page.items
    }

    /// One process.
    public func process(_ sandbox: String, _ pid: Int32) async throws -> ProcessResource {
        try await transport.json(processes(.GET, sandbox, "\(pid)"))
    }

    /// A process's output from a byte offset on, and its end.
    ///
    /// - Parameter lossless: the process waits for a reader that is slow; else it goes on, and what was not read in
    ///   time is told as lost.
    public func processEvents(
        _ sandbox: String, _ pid: Int32, from offset: UInt64 = 0, lossless: Bool = true
    ) -> ProcessEvents {
        var call = processes(.GET, sandbox, "\(pid)", "stream")
        call.query = [("lossless", lossless ? "true" : "false")]
        return ProcessEvents(transport: transport, call: call, from: offset)
    }

    /// Writes to a process's standard input, and closes it if told so. Waits while the process does not read.
    public func writeInput(
        _ sandbox: String, _ pid: Int32, _ bytes: some Collection<UInt8>, close: Bool = false
    ) async throws {
        let text = bytes.isEmpty ? nil : Data(bytes).base64EncodedString()
        let request = WriteInputRequest(base64: text, close: close ? true : nil)
        try await transport.perform(try transport.with(request, processes(.POST, sandbox, "\(pid)", "stdin")))
    }

    /// Sends a signal, such as `SIGTERM`, to a process's whole group.
    public func signal(_ sandbox: String, _ pid: Int32, _ signal: String) async throws {
        let call = processes(.POST, sandbox, "\(pid)", "signal")
        try await transport.perform(try transport.with(SignalRequest(signal: signal), call))
    }

    /// Tells a process the size of its terminal.
    public func resize(_ sandbox: String, _ pid: Int32, rows: UInt16, columns: UInt16) async throws {
        let call = processes(.POST, sandbox, "\(pid)", "resize")
        try await transport.perform(try transport.with(ResizeRequest(rows: rows, cols: columns), call))
    }

    /// Kills a process's whole group.
    public func killProcess(_ sandbox: String, _ pid: Int32) async throws {
        try await transport.perform(processes(.DELETE, sandbox, "\(pid)"))
    }

    private func processes(_ method: APIMethod, _ sandbox: String, _ rest: String...) -> APICall {
        var call = APICall(method, "v1", "sandboxes", sandbox, "processes")
        call.path += rest
        return call
    }
}
