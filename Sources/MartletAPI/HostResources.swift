import SandboxModel

/// `GET /v1/host`: what this machine runs sandboxes with, and why.
public struct HostResource: Codable, Sendable {
    /// One engine found or missing.
    public struct Engine: Codable, Sendable {
        public var name: String
        public var available: Bool
        public var version: String?
        public var accelerator: String?
        /// Why this accelerator, or why the engine is not available.
        public var reason: String
        public var level: IsolationLevel?
        /// What its sandboxes can do beyond running programs; nil from a server of before engines differed.
        public var capabilities: [EngineCapability]?

        public init(
            name: String, available: Bool, version: String?, accelerator: String?, reason: String,
            level: IsolationLevel?, capabilities: [EngineCapability]? = nil
        ) {
            self.capabilities = capabilities
            self.name = name
            self.available = available
            self.version = version
            self.accelerator = accelerator
            self.reason = reason
            self.level = level
        }
    }

    /// What is ready ahead of demand for one (template, cpus, memory, engine).
    public struct Pool: Codable, Sendable {
        public var template: String
        public var cpus: Int
        public var memoryMiB: Int
        /// nil from a server of before there were several.
        public var engine: String?
        public var shells: Int
        public var warm: Int
        public var targetShells: Int
        public var targetWarm: Int

        public init(
            template: String, cpus: Int, memoryMiB: Int, engine: String? = nil, shells: Int, warm: Int,
            targetShells: Int, targetWarm: Int
        ) {
            self.engine = engine
            self.template = template
            self.cpus = cpus
            self.memoryMiB = memoryMiB
            self.shells = shells
            self.warm = warm
            self.targetShells = targetShells
            self.targetWarm = targetWarm
        }

        enum CodingKeys: String, CodingKey {
            case template, cpus, engine, shells, warm
            case memoryMiB = "memory_mb"
            case targetShells = "target_shells"
            case targetWarm = "target_warm"
        }
    }

    /// The networks of its sandboxes.
    public struct Network: Codable, Sendable {
        /// Whether sandboxes can have a network; else only mode none.
        public var available: Bool
        /// Why not.
        public var reason: String?
        /// Where sandboxes' addresses are from.
        public var subnet: IPv4Prefix?
        /// Sandboxes with a network there can be at once.
        public var slots: Int
        public var slotsUsed: Int
        /// Made ahead of demand.
        public var slotsReady: Int
        /// What a sandbox may reach that is made without a policy.
        public var defaultMode: NetworkPolicy.Mode

        public init(
            available: Bool, reason: String?, subnet: IPv4Prefix?, slots: Int, slotsUsed: Int, slotsReady: Int,
            defaultMode: NetworkPolicy.Mode
        ) {
            self.available = available
            self.reason = reason
            self.subnet = subnet
            self.slots = slots
            self.slotsUsed = slotsUsed
            self.slotsReady = slotsReady
            self.defaultMode = defaultMode
        }

        enum CodingKeys: String, CodingKey {
            case available, reason, subnet, slots
            case slotsUsed = "slots_used"
            case slotsReady = "slots_ready"
            case defaultMode = "default_mode"
        }
    }

    public var version: String
    public var kernel: String
    public var cpus: Int
    public var memoryBytes: UInt64
    public var memoryAvailableBytes: UInt64
    public var diskAvailableBytes: UInt64
    public var sandboxes: Int
    public var maxSandboxes: Int
    public var engines: [Engine]
    public var pools: [Pool]
    /// nil from a server of before there were any.
    public var network: Network?

    public init(
        version: String, kernel: String, cpus: Int, memoryBytes: UInt64, memoryAvailableBytes: UInt64,
        diskAvailableBytes: UInt64, sandboxes: Int, maxSandboxes: Int, engines: [Engine], pools: [Pool],
        network: Network? = nil
    ) {
        self.version = version
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

    enum CodingKeys: String, CodingKey {
        case version, kernel, cpus, sandboxes, engines, pools, network
        case memoryBytes = "memory_bytes"
        case memoryAvailableBytes = "memory_available_bytes"
        case diskAvailableBytes = "disk_available_bytes"
        case maxSandboxes = "max_sandboxes"
    }
}
