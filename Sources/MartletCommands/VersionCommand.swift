import ArgumentParser
import MartletAPI
import MartletClient

/// Shows which versions are at work.
struct VersionCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "version", abstract: "Show the versions of client, server and protocols.")

    @OptionGroup var output: OutputOptions

    private struct Versions: Encodable {
        var client = MartletVersion.number
        var server: String?
        var api = MartletVersion.api
        var guestProtocol = MartletVersion.guestProtocol

        enum CodingKeys: String, CodingKey {
            case client, server, api
            case guestProtocol = "guest_protocol"
        }
    }

    func run() async throws {
        var versions = Versions()
        // A server that is not there has no version; that is an answer, not a failure.
        versions.server = try? await Session.with(starts: false) { try await $0.host().version }
        try output.show(versions) {
            FactTable.text([
                ("client", versions.client), ("server", versions.server ?? "not running"), ("api", versions.api),
                ("guest protocol", "\(versions.guestProtocol)"),
            ])
        }
    }
}
