import ArgumentParser
import Glibc
import MartletClient
import SandboxModel

/// The way from a verb to the server.
enum Session {
    /// Our environment; a name that is not UTF-8 is no variable of ours.
    static let environment: [String: String] = {
        var variables: [String: String] = [:]
        var entry = environ
        // SAFETY: environ is a NULL-terminated array of strings that nobody changes in this program.
        while let pointer = entry.pointee {
            if let text = String(validatingCString: pointer), let equals = text.firstIndex(of: "=") {
                variables[String(text[..<equals])] = String(text[text.index(after: equals)...])
            }
            entry += 1
        }
        return variables
    }()

    /// The data directory that the environment names.
    static var data: DataDirectory { DataDirectory(environment: environment) }

    /// Hands a client to `body`.
    ///
    /// - Parameter starts: whether to start this machine's daemon if it is the one meant and does not run.
    static func with<Result: Sendable>(
        starts: Bool = true, _ body: (MartletClient) async throws -> Result
    ) async throws -> Result {
        let configuration = try ClientConfiguration(environment: environment)
        if starts, configuration.endpoint == .unixSocket(path: data.socket) {
            try await DaemonLauncher(data: data, environment: environment).ensureRunning()
        }
        return try await MartletClient.with(configuration, body)
    }
}
