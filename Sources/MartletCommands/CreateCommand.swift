import ArgumentParser
import MartletAPI
import MartletClient

/// Makes a sandbox and leaves it running.
struct CreateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "create", abstract: "Create a sandbox and print its id.")

    @OptionGroup var sandboxOptions: SandboxOptions

    @Option(
        name: [.customShort("e"), .customLong("env")],
        help: "NAME=value for every program in it; NAME alone passes ours on.")
    var variables: [VariableArgument] = []

    @Option(name: .long, help: "How long it lives, such as 10m or 2h.")
    var timeout: SecondsArgument?

    @OptionGroup var output: OutputOptions

    func run() async throws {
        let request = try sandboxOptions.request(
            timeout: timeout.map { Int($0.seconds.rounded(.up)) }, environment: variables.resolved())
        let sandbox = try await Session.with { try await $0.createSandbox(request) }
        try output.show(sandbox) { sandbox.id }
    }
}
