import ControlStore
import MartletAPI
import Node
import SandboxModel

/// A create request that was checked: everything in it is well-formed and within its bounds.
struct CreatePlan: Sendable {
    /// nil: the snapshot's.
    var template: TemplateReference?
    var name: String?
    var timeoutSeconds: Int
    var cpus: Int?
    var memoryMiB: Int?
    var diskMiB: Int?
    var environment: [String]
    var metadata: [String: String]
    var isolation: IsolationChoice
    /// The id or name of the snapshot to go on from.
    var fromSnapshot: String?
    var inheritsEnvironment: Bool
    var onTimeout: TimeoutAction
    var isRecorded: Bool
    /// Kept beside the sandbox for whoever speaks another API.
    var dialect: String?
    var network: NetworkPlan

    /// Checks a request.
    ///
    /// - Throws: `invalid_argument` naming the field; `permission_denied` for secrets of the daemon's.
    init(
        _ request: CreateSandboxRequest, caller: Caller, configuration: ControlPlaneConfiguration
    ) throws(MartletError) {
        fromSnapshot = request.fromSnapshot
        let template = request.template ?? (fromSnapshot == nil ? "base" : nil)
        self.template = try template.map { text throws(MartletError) in
            try TemplateReference.parse(text, field: "template")
        }
        guard request.inheritEnv == nil || fromSnapshot != nil else {
            throw .invalid("inherit_env", "is for sandboxes made from_snapshot only")
        }
        inheritsEnvironment = request.inheritEnv ?? false
        onTimeout = request.onTimeout ?? .kill
        isRecorded = request.record ?? false
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
        isolation = try IsolationChoice(parsing: request.isolation ?? "auto")
        network = try NetworkPlan(
            policy: request.network, secrets: request.secrets, env: request.env, caller: caller,
            configuration: configuration)
    }

    /// Checks a time-out: from one second up to the longest allowed.
    static func timeout(_ seconds: Int, configuration: ControlPlaneConfiguration) throws(MartletError) -> Int {
        guard (1...configuration.maxTimeoutSeconds).contains(seconds) else {
            throw .invalid("timeout_seconds", "\(seconds) is outside 1...\(configuration.maxTimeoutSeconds)")
        }
        return seconds
    }

    /// Checks that what was asked for beside a snapshot is what the snapshot has.
    ///
    /// - Throws: `invalid_argument` naming the field.
    func check(against snapshot: SnapshotRecord) throws(MartletError) {
        func check<Value: Equatable>(_ field: String, _ wanted: Value?, _ has: Value) throws(MartletError) {
            guard let wanted, wanted != has else { return }
            throw .invalid(field, "is \(wanted), but the snapshot's is \(has); leave it out")
        }
        try check("template", template?.description, snapshot.template)
        try check("cpus", cpus, snapshot.cpus)
        try check("memory_mb", memoryMiB, snapshot.memoryMiB)
        try check("disk_mb", diskMiB, snapshot.diskMiB)
        try check("isolation", isolation == .auto ? nil : isolation, .engine(snapshot.isolation.engine))
    }

    /// What the node is asked for when it goes on from a snapshot.
    func forkSpec(id: SandboxID, network: Networks.Prepared) -> ForkSpec {
        ForkSpec(
            id: id, hostname: name ?? id.rawValue, environment: environment,
            inheritsEnvironment: inheritsEnvironment, network: network.network)
    }

    /// What its engine must be able to do for what was asked.
    private var needs: Set<EngineCapability> {
        var needs: Set<EngineCapability> = []
        if onTimeout == .pause { needs.insert(.pause) }
        if isRecorded { needs.insert(.snapshots) }
        return needs
    }

    /// What the node is asked for.
    func spec(id: SandboxID, network: Networks.Prepared) -> SandboxSpec {
        SandboxSpec(
            id: id, template: template?.description ?? "base", cpus: cpus, memoryMiB: memoryMiB, diskMiB: diskMiB,
            environment: environment, hostname: name ?? id.rawValue, isolation: isolation, needs: needs,
            network: network.network)
    }
}
