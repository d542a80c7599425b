import SandboxModel

/// Body of `POST /v1/templates`: builds a template of the templates directory.
public struct BuildTemplateRequest: APIRequest {
    public var name: String
    /// Builds again even where a whole one is there.
    public var force: Bool?

    public init(name: String, force: Bool? = nil) {
        self.name = name
        self.force = force
    }

    enum CodingKeys: String, CodingKey, CaseIterable { case name, force }
    public static var fields: [String] { CodingKeys.allCases.map(\.rawValue) }
}

/// A template and whether it can be used.
public struct TemplateResource: Codable, Sendable {
    public var name: String
    public var description: String
    /// `absent`, `building`, `ready`, `stale` or `corrupt`.
    public var state: String
    /// The content address of what was built.
    public var digest: String?
    public var kernel: String?
    public var sizeBytes: UInt64
    public var builtAt: Timestamp?
    public var cpus: Int
    public var memoryMiB: Int
    public var diskMiB: Int
    /// Memory captures that exist, one per (cpus, memory).
    public var captures: Int
    /// Other names a sandbox of it may be asked for by.
    public var aliases: [String]
    /// Container images that builders of templates know, and that it stands in for.
    public var images: [String]
    /// Of one that was built out of another one.
    public var derived: Derived?

    /// Of which template it is a build, and what was asked for.
    public struct Derived: Codable, Sendable, Equatable {
        /// An id that all builds of one name share.
        public var template: String
        public var name: String
        /// The tags that lead to this build.
        public var tags: [String]
        /// What it was built out of.
        public var parent: String
        /// Who its programs run as that do not ask otherwise, where its builder has said.
        public var user: String?
        /// Where its programs begin that do not ask otherwise, where its builder has said.
        public var workingDirectory: String?

        public init(
            template: String, name: String, tags: [String], parent: String, user: String? = nil,
            workingDirectory: String? = nil
        ) {
            self.template = template
            self.name = name
            self.tags = tags
            self.parent = parent
            self.user = user
            self.workingDirectory = workingDirectory
        }

        enum CodingKeys: String, CodingKey {
            case template, name, tags, parent, user
            case workingDirectory = "working_directory"
        }
    }

    public init(
        name: String, description: String, state: String, digest: String?, kernel: String?, sizeBytes: UInt64,
        builtAt: Timestamp?, cpus: Int, memoryMiB: Int, diskMiB: Int, captures: Int, aliases: [String] = [],
        images: [String] = [], derived: Derived? = nil
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
        self.derived = derived
    }

    enum CodingKeys: String, CodingKey {
        case name, description, state, digest, kernel, cpus, captures, aliases, images, derived
        case sizeBytes = "size_bytes"
        case builtAt = "built_at"
        case memoryMiB = "memory_mb"
        case diskMiB = "disk_mb"
    }
}

/// One build of a template, running or done.
public struct TemplateBuild: Codable, Sendable {
    public var id: String
    public var template: String
    /// `running`, `succeeded` or `failed`.
    public var state: String
    public var stage: String
    public var stageIndex: Int
    public var stageCount: Int
    public var message: String
    public var elapsedMilliseconds: Double
    public var startedAt: Timestamp
    public var error: ErrorBody.Detail?

    public init(
        id: String, template: String, state: String, stage: String, stageIndex: Int, stageCount: Int,
        message: String, elapsedMilliseconds: Double, startedAt: Timestamp, error: ErrorBody.Detail? = nil
    ) {
        self.id = id
        self.template = template
        self.state = state
        self.stage = stage
        self.stageIndex = stageIndex
        self.stageCount = stageCount
        self.message = message
        self.elapsedMilliseconds = elapsedMilliseconds
        self.startedAt = startedAt
        self.error = error
    }

    enum CodingKeys: String, CodingKey {
        case id, template, state, stage, message, error
        case stageIndex = "stage_index"
        case stageCount = "stage_count"
        case elapsedMilliseconds = "elapsed_ms"
        case startedAt = "started_at"
    }
}
