import ArgumentParser
import LinuxSystem
import MartletAPI
import MartletClient
import SandboxModel

/// Builds templates.
struct TemplateBuildCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "build", abstract: "Build a template, so that sandboxes can start from it.",
        discussion: "One that is whole and up to date is not built again. Ctrl-C stops watching, not building.")

    @Argument(help: "Names of the templates; base if there are none.")
    var names: [String] = []

    @Flag(name: [.short, .long], help: "Build even if it is whole and up to date.")
    var force = false

    func run() async throws {
        try await Session.with { client in
            for name in names.isEmpty ? ["base"] : names { try await build(name, client) }
        }
    }

    private func build(_ name: String, _ client: MartletClient) async throws {
        var build = try await client.buildTemplate(BuildTemplateRequest(name: name, force: force ? true : nil))
        let display = BuildDisplay(template: name)
        display.show(build)
        if build.state == "running" {
            try await withThrowingTaskGroup(of: Void.self) { group in
                // The clock goes on between the steps.
                group.addTask { await display.tick() }
                for try await step in client.templateBuildEvents(name, build.id) {
                    build = step
                    display.show(step)
                    if step.state != "running" { break }
                }
                group.cancelAll()
            }
            // The stream may end before its last word, on a restart of the daemon for one.
            if build.state == "running" { build = try await client.templateBuild(name, build.id) }
        }
        display.finish(build)
        guard build.state == "succeeded" else {
            let error = build.error
            throw MartletError(
                error.flatMap { MartletError.Code(rawValue: $0.code) } ?? .internal,
                error?.message ?? "build of template \(name): it is \(build.state)", details: error?.details ?? [:])
        }
    }
}
