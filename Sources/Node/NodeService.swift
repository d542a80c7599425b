import GuestClient
import HostNetwork
import SandboxModel

/// What a node is asked to make.
package struct SandboxSpec: Sendable {
    package var id: SandboxID
    package var template: String
    /// nil: the template's own.
    package var cpus: Int?
    package var memoryMiB: Int?
    package var diskMiB: Int?
    /// `NAME=value` pairs every process of the sandbox starts with.
    package var environment: [String]
    package var hostname: String
    package var isolation: IsolationChoice
    /// What its engine must be able to do.
    package var needs: Set<EngineCapability>
    package var network: SandboxNetwork

    package init(
        id: SandboxID, template: String, cpus: Int? = nil, memoryMiB: Int? = nil, diskMiB: Int? = nil,
        environment: [String] = [], hostname: String, isolation: IsolationChoice = .auto,
        needs: Set<EngineCapability> = [], network: SandboxNetwork = .closed
    ) {
        self.id = id
        self.template = template
        self.cpus = cpus
        self.memoryMiB = memoryMiB
        self.diskMiB = diskMiB
        self.environment = environment
        self.hostname = hostname
        self.isolation = isolation
        self.needs = needs
        self.network = network
    }
}

/// A sandbox as its node knows it.
package struct NodeSandbox: Sendable {
    package var id: SandboxID
    package var template: String
    package var isolation: Isolation
    package var shape: MachineShape
    package var diskMiB: Int
    package var report: CreateReport
    /// True when an earlier daemon made it and this one took it over.
    package var isAdopted: Bool
    /// `running` or `paused`.
    package var state: SandboxState
    /// Where its traffic comes from on the host, while it runs; another one in each machine it goes on in. nil where
    /// it has no network card.
    package var networkAddress: IPv4Address?

    package init(
        id: SandboxID, template: String, isolation: Isolation, shape: MachineShape, diskMiB: Int,
        report: CreateReport, isAdopted: Bool, state: SandboxState = .running, networkAddress: IPv4Address? = nil
    ) {
        self.id = id
        self.template = template
        self.isolation = isolation
        self.shape = shape
        self.diskMiB = diskMiB
        self.report = report
        self.isAdopted = isAdopted
        self.state = state
        self.networkAddress = networkAddress
    }
}

/// Something a node noticed on its own.
package enum NodeEvent: Sendable {
    /// The sandbox's machine ended without being asked to.
    case ended(SandboxID, reason: String)
}

/// Something a sandbox tried to reach and was refused.
package struct NodeDenial: Sendable {
    package var sandbox: SandboxID
    package var denial: NetworkDenial

    package init(sandbox: SandboxID, denial: NetworkDenial) {
        self.sandbox = sandbox
        self.denial = denial
    }
}

/// How a template build goes on.
package struct TemplateProgress: Sendable {
    package var stage: String
    package var index: Int
    package var count: Int
    package var message: String
    package var elapsedMilliseconds: Double

    package init(stage: String, index: Int, count: Int, message: String, elapsedMilliseconds: Double) {
        self.stage = stage
        self.index = index
        self.count = count
        self.message = message
        self.elapsedMilliseconds = elapsedMilliseconds
    }
}

/// A template as a node has it.
package struct NodeTemplate: Sendable {
    package var name: String
    package var description: String
    /// `absent`, `building`, `ready`, `stale`, `corrupt`.
    package var state: String
    package var digest: String?
    package var kernel: String?
    package var sizeBytes: UInt64
    package var builtAt: Timestamp?
    package var cpus: Int
    package var memoryMiB: Int
    package var diskMiB: Int
    package var captures: Int
    /// Other names it may be asked for by.
    package var aliases: [String]
    /// Container images it stands in for.
    package var images: [String]
    /// Of one that was built out of another.
    package var derivation: TemplateDerivation?

    package init(
        name: String, description: String, state: String, digest: String?, kernel: String?, sizeBytes: UInt64,
        builtAt: Timestamp?, cpus: Int, memoryMiB: Int, diskMiB: Int, captures: Int, aliases: [String] = [],
        images: [String] = [], derivation: TemplateDerivation? = nil
    ) {
        self.name = name
        self.description = description
        self.state = state
        self.digest = digest
        self.kernel = kernel
        self.sizeBytes = sizeBytes
        self.builtAt = builtAt
        self.cpus = cpus
        self.memoryMiB = memoryMiB
        self.diskMiB = diskMiB
        self.captures = captures
        self.aliases = aliases
        self.images = images
        self.derivation = derivation
    }
}

/// What is ready ahead of demand for one (template, cpus, memory).
package struct PoolReport: Sendable {
    package var template: String
    package var shape: MachineShape
    package var engine: String
    package var shells: Int
    package var warm: Int
    package var targetShells: Int
    package var targetWarm: Int

    package init(
        template: String, shape: MachineShape, engine: String = "qemu", shells: Int, warm: Int, targetShells: Int,
        targetWarm: Int
    ) {
        self.engine = engine
        self.template = template
        self.shape = shape
        self.shells = shells
        self.warm = warm
        self.targetShells = targetShells
        self.targetWarm = targetWarm
    }
}

/// What a node's engine is.
package struct NodeEngine: Sendable {
    package var name: String
    package var isAvailable: Bool
    package var version: String?
    package var isolation: Isolation?
    package var reason: String
    package var capabilities: Set<EngineCapability>

    package init(
        name: String, isAvailable: Bool, version: String?, isolation: Isolation?, reason: String,
        capabilities: Set<EngineCapability> = Set(EngineCapability.allCases)
    ) {
        self.capabilities = capabilities
        self.name = name
        self.isAvailable = isAvailable
        self.version = version
        self.isolation = isolation
        self.reason = reason
    }
}

/// The network a node has for its sandboxes.
package enum NodeNetwork: Sendable {
    case available(HostNetworkReport)
    /// Sandboxes have no network card.
    case unavailable(reason: String)
}

/// A node's state in numbers.
package struct NodeReport: Sendable {
    package var kernel: String
    package var cpus: Int
    package var memoryBytes: UInt64
    package var memoryAvailableBytes: UInt64
    package var diskAvailableBytes: UInt64
    package var sandboxes: Int
    package var maxSandboxes: Int
    package var engines: [NodeEngine]
    package var pools: [PoolReport]
    package var network: NodeNetwork

    package init(
        kernel: String, cpus: Int, memoryBytes: UInt64, memoryAvailableBytes: UInt64, diskAvailableBytes: UInt64,
        sandboxes: Int, maxSandboxes: Int, engines: [NodeEngine], pools: [PoolReport], network: NodeNetwork
    ) {
        self.kernel = kernel
        self.cpus = cpus
        self.memoryBytes = memoryBytes
        self.memoryAvailableBytes = memoryAvailableBytes
        self.diskAvailableBytes = diskAvailableBytes
        self.sandboxes = sandboxes
        self.maxSandboxes = maxSandboxes
        self.engines = engines
        self.pools = pools
        self.network = network
    }
}

/// One host, as the control plane sees it: in the same process on one machine, elsewhere in a fleet.
package protocol NodeService: Sendable {
    /// Makes a sandbox; returns once its guest has confirmed the thaw. Whatever was begun is undone on failure.
    ///
    /// - Throws: `not_found` (template), `failed_precondition` (template not built or corrupt), `invalid_argument`
    ///   (size), `resource_exhausted` (limits, disk full), `unsupported` (engine, what it cannot do, or a network policy
    ///   other than none where there is no network), `permission_denied` (a wall the operator finds too weak),
    ///   `unavailable`.
    func create(_ spec: SandboxSpec) async throws -> NodeSandbox

    /// Ends a sandbox and removes all it held. Returns when nothing is left.
    ///
    /// - Throws: `not_found`.
    func destroy(_ id: SandboxID) async throws

    /// All sandboxes on the node.
    func sandboxes() async -> [NodeSandbox]

    /// The way to a sandbox's guest.
    ///
    /// - Throws: `not_found`; `unavailable` when the machine is on its way out.
    func guest(of id: SandboxID) async throws -> GuestConnection

    /// Host memory of a sandbox in bytes: its own, and its fair share.
    func memory(of id: SandboxID) async throws -> (private: UInt64, proportional: UInt64)

    /// The end of a sandbox's console.
    func consoleLog(of id: SandboxID) async throws -> [UInt8]

    /// Captures a sandbox to storage and ends its machine; memory, processes and disk are kept until `resume`. Durable
    /// when this returns: a paused sandbox survives a restart of the host. On failure the sandbox goes on running.
    ///
    /// - Throws: `not_found`; `failed_precondition` when it is paused already; `resource_exhausted` (disk full).
    func pause(_ id: SandboxID) async throws -> CaptureReport

    /// Lets a paused sandbox run again, or, from its disk, boots a paused or running one afresh.
    ///
    /// - Throws: `not_found`; `failed_precondition` when it runs (from memory), when its capture does not fit this host
    ///   any more or is damaged; `resource_exhausted`; `unavailable` when the guest does not confirm the thaw. It is
    ///   still paused then.
    ///   From its disk, neither its memory nor what this host is matters.
    func resume(_ id: SandboxID, from source: ResumeSource, network: SandboxNetwork) async throws -> NodeSandbox

    /// Captures a running or paused sandbox under an id of its own; a running one goes on.
    ///
    /// - Throws: `not_found`, `resource_exhausted` (disk full), `unavailable`.
    func snapshot(_ id: SandboxID, as spec: SnapshotSpec) async throws -> NodeSnapshot

    /// Makes sandboxes that go on from where another one is, or from where a snapshot was taken.
    ///
    /// A running source is captured once, for all children; it goes on. Children fail one by one: the outcome tells
    /// for each.
    /// - Throws: what keeps all of them from being made: `not_found` (source), `failed_precondition` (the snapshot does
    ///   not fit this host, or is damaged), `resource_exhausted`.
    func fork(_ source: ForkSource, into children: [ForkSpec]) async throws -> ForkOutcome

    /// Puts a sandbox, running or paused, back to where a snapshot of it was taken; what it did since is dropped. It
    /// is as it was if this fails.
    ///
    /// - Throws: `not_found` (sandbox, snapshot), `failed_precondition`, `resource_exhausted`, `unavailable`.
    func rewind(_ id: SandboxID, to snapshot: SnapshotID, network: SandboxNetwork) async throws -> NodeSandbox

    /// All snapshots on the node.
    func snapshots() async -> [NodeSnapshot]

    /// Removes a snapshot. Sandboxes made from it are not affected: they hold what they need of it.
    ///
    /// - Throws: `not_found`.
    func removeSnapshot(_ id: SnapshotID) async throws

    /// Tells whether a snapshot can leave this host, before anything of it is written.
    ///
    /// - Throws: `not_found`, `unsupported`.
    func checkExport(of id: SnapshotID) async throws

    /// Writes a snapshot, with all it stands on, as one compressed stream.
    ///
    /// - Parameter sink: given the stream piece by piece; what it throws ends the export.
    /// - Throws: `not_found`, `unsupported`, `failed_precondition` (damaged).
    func exportSnapshot(_ id: SnapshotID, to sink: @escaping @Sendable ([UInt8]) async throws -> Void) async throws

    /// Reads what `exportSnapshot` wrote. Nothing is kept of a stream that is not whole.
    ///
    /// - Parameter source: the next piece of the stream; nil at its end.
    /// - Throws: `invalid_argument` (not an export, damaged), `failed_precondition` (it does not fit this host),
    ///   `resource_exhausted`.
    func importSnapshot(
        as id: SnapshotID, from source: @escaping @Sendable () async throws -> [UInt8]?
    ) async throws -> NodeSnapshot

    /// Puts another network in force for a running sandbox, at once and as a whole: connections that it does not allow
    /// end. Programs started from now on find the placeholders of new secrets in their environment, if the guest takes
    /// them: what is refused does not depend on it.
    ///
    /// A daemon that takes a sandbox over puts its policy in force by itself, but knows no secrets: they are given back
    /// to it this way.
    /// - Throws: `not_found`; `failed_precondition` while it is paused; `unsupported` where it has no network card.
    func setNetwork(of id: SandboxID, _ network: SandboxNetwork) async throws

    /// What a running sandbox has sent and received since it has the machine it runs in.
    ///
    /// - Throws: `not_found`; `failed_precondition` while it is paused; `unsupported` where it has no network card.
    func networkCounters(of id: SandboxID) async throws -> NetworkCounters

    /// What the node notices on its own; one consumer.
    var events: AsyncStream<NodeEvent> { get }

    /// What sandboxes were refused; one consumer. Bounded: a consumer that is too slow misses some, instead of being
    /// sent a guest's flood.
    var denials: AsyncStream<NodeDenial> { get }

    /// Engines, capacity, pools.
    func report() async -> NodeReport

    /// Every template: those of the templates directory, and those built out of others.
    func templates() async throws -> [NodeTemplate]

    /// Builds a template and its capture; returns when both are whole.
    func buildTemplate(
        _ name: String, force: Bool, progress: @escaping @Sendable (TemplateProgress) -> Void
    ) async throws -> NodeTemplate

    /// Makes a template of what a sandbox's disk has become, or of another template's disk, and its capture; returns
    /// when both are whole. Nobody sees it before that, and nothing is left of one that failed.
    ///
    /// The sandbox is ended, whatever comes of it.
    /// - Throws: `not_found`, `conflict` (the name is taken), `failed_precondition` (what is to run in it does not come
    ///   up), `resource_exhausted` (disk full).
    func deriveTemplate(
        _ draft: TemplateDraft, progress: @escaping @Sendable (TemplateProgress) -> Void
    ) async throws -> NodeTemplate

    /// Replaces what is known of a template that was built out of another: its tags, above all.
    ///
    /// - Throws: `not_found`.
    func setDerivation(_ derivation: TemplateDerivation, of name: String) async throws

    /// Removes what was built of a template.
    ///
    /// - Throws: `conflict` while a sandbox uses it.
    func removeTemplate(_ name: String) async throws
}
