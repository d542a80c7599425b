import ArgumentParser
import MartletClient
import SandboxModel

/// Prints what clients and scripts need to reach this server.
struct EnvCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "env", abstract: "Print MARTLET_URL and MARTLET_API_KEY for clients and scripts.",
        discussion: "eval \"$(martlet env)\" sets both in a shell.")

    func run() async throws {
        let environment = Session.environment
        if let url = environment["MARTLET_URL"], !url.isEmpty {
            let configuration = try ClientConfiguration(environment: environment)
            show(url: configuration.endpoint.description, key: configuration.apiKey)
            return
        }
        let data = Session.data
        try await DaemonLauncher(data: data, environment: environment).ensureRunning()
        guard let daemon = DaemonFile.read(data) else {
            throw MartletError(.unavailable, "env: \(data.daemonFile): the daemon has not told where it listens")
        }
        let local = try ClientConfiguration(environment: ["MARTLET_URL": daemon.url, "MARTLET_DATA": data.path])
        guard let key = environment["MARTLET_API_KEY"] ?? local.apiKey else {
            throw MartletError(.permissionDenied, "env: \(data.keyFile): the API key cannot be read")
        }
        show(url: daemon.url, key: key)
    }

    private func show(url: String, key: String?) {
        Console.print("export MARTLET_URL=\(Self.quoted(url))")
        if let key { Console.print("export MARTLET_API_KEY=\(Self.quoted(key))") }
    }

    /// Text as one word for a POSIX shell.
    static func quoted(_ text: String) -> String {
        let plain = text.utf8.allSatisfy { byte in
            (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte)
                || "-._~:/@%+=[]".utf8.contains(byte)
        }
        return plain && !text.isEmpty && !text.contains("[")
            ? text : "'" + text.replacing("'", with: "'\\''") + "'"
    }
}
