import ArgumentParser
import MartletAPI

/// The options of `run` and `create` that shape a sandbox.
struct SandboxOptions: ParsableArguments {
    @Option(name: [.customShort("T"), .long], help: "Template to start from.")
    var template: String?

    @Option(name: .long, help: "A name for the sandbox, to be used in place of its id.")
    var name: String?

    @Option(name: .long, help: "Processors.")
    var cpus: Int?

    @Option(name: .long, help: "Memory, such as 512m or 2g.")
    var memory: MebibytesArgument?

    @Option(name: .long, help: "Disk, such as 8g.")
    var disk: MebibytesArgument?

    @Option(name: [.short, .customLong("metadata")], help: "KEY=value to find the sandbox by.")
    var metadata: [VariableArgument] = []

    @Option(name: .long, help: "Engine that isolates it: auto, or a name that doctor shows.")
    var isolation: String?

    /// What creates the sandbox.
    func request(timeout: Int?, environment: [String: String]? = nil) throws -> CreateSandboxRequest {
        for pair in metadata where pair.value == nil {
            throw ValidationError("Metadata '\(pair.name)' needs a value: --metadata \(pair.name)=value")
        }
        return CreateSandboxRequest(
            template: template, name: name, timeoutSeconds: timeout, cpus: cpus, memoryMiB: memory?.count,
            diskMiB: disk?.count, env: environment, metadata: metadata.resolved(from: [:]), isolation: isolation)
    }
}
