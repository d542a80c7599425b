import MartletAPI
import MartletClient
import SandboxModel

extension DaemonFixture {
    func create(_ request: CreateSandboxRequest = CreateSandboxRequest()) async throws -> SandboxResource {
        try await client.createSandbox(request)
    }

    /// Runs a line in the sandbox's shell.
    func shell(_ sandbox: SandboxResource, _ line: String, timeoutSeconds: Double = 60) async throws -> ExecResult {
        try await client.exec(sandbox.id, ExecRequest(cmd: .shell(line), timeoutSeconds: timeoutSeconds))
    }

    /// What a line prints, without the last newline.
    func output(_ sandbox: SandboxResource, _ line: String) async throws -> String {
        let text = try await shell(sandbox, line).stdout ?? ""
        return text.hasSuffix("\n") ? String(text.dropLast()) : text
    }
}
