import SandboxModel

/// A Martlet server, as a Swift program uses it.
///
/// ```swift
/// let client = try MartletClient()
/// let sandbox = try await client.createSandbox()
/// let result = try await client.exec(sandbox.id, ExecRequest(cmd: .shell("uname -a")))
/// try await client.deleteSandbox(sandbox.id)
/// try await client.shutdown()
/// ```
///
/// Every failure is a `MartletError` with the server's code and text, except that a cancelled task gets a
/// `CancellationError`. A program that fails in a sandbox is a result, not an error. When nothing answers at the
/// address the code is `unavailable` and ``isNobodyListening(_:)`` is true. One client may be used from any number of
/// tasks; `shutdown` must be called before it is let go.
public final class MartletClient: Sendable {
    let transport: HTTPTransport

    /// Where the server is and how it is spoken to.
    public var configuration: ClientConfiguration { transport.configuration }

    /// Makes a client. Nothing is sent yet.
    public init(_ configuration: ClientConfiguration) { transport = HTTPTransport(configuration) }

    /// Makes a client for the server that the environment names, else for the daemon of this machine.
    ///
    /// - Parameter environment: `MARTLET_URL`, `MARTLET_API_KEY` and `MARTLET_DATA` are read.
    public convenience init(environment: [String: String]) throws(MartletError) {
        self.init(try ClientConfiguration(environment: environment))
    }

    /// Makes a client, hands it to `body`, and shuts it down however `body` ends.
    public static func with<Result: Sendable>(
        _ configuration: ClientConfiguration, _ body: (MartletClient) async throws -> Result
    ) async throws -> Result {
        let client = MartletClient(configuration)
        let result: Result
        do {
            result = try await body(client)
        } catch {
            try? await client.shutdown()
            throw error
        }
        try await client.shutdown()
        return result
    }

    /// Closes all connections; requests under way fail.
    public func shutdown() async throws { try await transport.shutdown() }

    /// Whether an error says that no server is there, as opposed to one that refuses or fails.
    public static func isNobodyListening(_ error: any Error) -> Bool {
        (error as? MartletError)?.details["reason"] == HTTPTransport.notListening
    }
}
