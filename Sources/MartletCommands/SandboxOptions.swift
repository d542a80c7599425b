import ArgumentParser
import MartletAPI
import SandboxModel

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

    @Option(
        name: .long,
        help: "What isolates it: auto, microvm, firecracker, gvisor, process, or an engine that doctor shows.")
    var isolation: String?

    @Option(name: .long, help: "Id or name of a snapshot to go on from, in place of a template.")
    var fromSnapshot: String?

    @Flag(name: .long, help: "With --from-snapshot: programs have the snapshot's environment too.")
    var inheritEnv = false

    @Flag(name: .long, help: "Keep a checkpoint after every command, to rewind to.")
    var record = false

    @Option(name: .long, help: "What becomes of it when its time is over: kill or pause.")
    var onTimeout: TimeoutAction?

    @OptionGroup var network: NetworkOptions
    @OptionGroup var secrets: SecretOptions

    /// What creates the sandbox.
    func request(timeout: Int?, environment: [String: String]? = nil) throws -> CreateSandboxRequest {
        CreateSandboxRequest(
            template: template, name: name, timeoutSeconds: timeout, cpus: cpus, memoryMiB: memory?.count,
            diskMiB: disk?.count, env: environment, metadata: try metadata.labels(),
            isolation: isolation, fromSnapshot: fromSnapshot, inheritEnv: inheritEnv ? true : nil,
            onTimeout: onTimeout, record: record ? true : nil, network: try network.networkPolicy(),
            secrets: try secrets.secrets())
    }
}

extension TimeoutAction: ExpressibleByArgument {}
