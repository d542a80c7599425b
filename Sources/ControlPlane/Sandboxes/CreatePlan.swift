import MartletAPI
import Node
import SandboxModel

/// A create request that was checked: everything in it is well-formed and within its bounds.
struct CreatePlan: Sendable {
    var template: String
    var name: String?
    var timeoutSeconds: Int
    var cpus: Int?
    var memoryMiB: Int?
    var diskMiB: Int?
    var environment: [String]
    var metadata: [String: String]
    var isolation: String

    /// Checks a request.
    ///
    /// - Throws: `invalid_argument` naming the field; `unsupported` for what is not built.
    init(_ request: CreateSandboxRequest, configuration: ControlPlaneConfiguration) throws(MartletError) {
        guard request.fromSnapshot == nil else {
            throw MartletError(
                .unsupported, "create sandbox: from_snapshot: snapshots are not built yet",
                details: ["field": "from_snapshot"])
        }
        template = try SandboxName.parse(request.template ?? "base", field: "template").rawValue
        if let text = request.name {
            name = try SandboxName.parse(text, field: "name").rawValue
            guard SandboxID(rawValue: text) == nil else {
                throw .invalid("name", "must not look like a sandbox's id")
            }
        }
        timeoutSeconds = try CreatePlan.timeout(
            request.timeoutSeconds ?? configuration.defaultTimeoutSeconds, configuration: configuration)
        _ = try MachineShape(cpus: request.cpus ?? 1, memoryMiB: request.memoryMiB ?? 256)
        cpus = request.cpus
        memoryMiB = request.memoryMiB
        if let disk = request.diskMiB {
            guard (256...1_048_576).contains(disk) else {
                throw .invalid("disk_mb", "\(disk) is outside 256...1048576")
            }
            diskMiB = disk
        }
        environment = try EnvironmentCheck.pairs(request.env ?? [:], field: "env")
        metadata = try MetadataCheck.checked(request.metadata ?? [:])
        isolation = try CreatePlan.isolation(request.isolation ?? "auto")
    }

    /// Checks a time-out: from one second up to the longest allowed.
    static func timeout(_ seconds: Int, configuration: ControlPlaneConfiguration) throws(MartletError) -> Int {
        guard (1...configuration.maxTimeoutSeconds).contains(seconds) else {
            throw .invalid("timeout_seconds", "\(seconds) is outside 1...\(configuration.maxTimeoutSeconds)")
        }
        return seconds
    }

    private static func isolation(_ text: String) throws(MartletError) -> String {
        guard SandboxName(rawValue: text) != nil else {
            throw .invalid("isolation", "must be 'auto' or the name of an engine")
        }
        return text
    }

    /// What the node is asked for.
    func spec(id: SandboxID) -> SandboxSpec {
        SandboxSpec(
            id: id, template: template, cpus: cpus, memoryMiB: memoryMiB, diskMiB: diskMiB, environment: environment,
            hostname: name ?? id.rawValue, isolation: isolation)
    }
}
