import Node
import SandboxModel
import Synchronization

/// One build of a template out of another, from when a client announces it until the daemon forgets it.
final class TemplateBuildJob: Sendable {
    enum Stage: Sendable {
        /// Its files may be coming; nobody has said yet how it is made.
        case announced
        case queued(BuildPlan, parent: NodeTemplate)
        case over
    }

    /// What was announced.
    let request: TemplateRequest
    let owner: String?
    /// The id all builds of the name share.
    let template: String
    let log: TemplateBuildLog
    let announcedAt = Timestamp.now
    private let stage = Mutex(Stage.announced)

    init(request: TemplateRequest, owner: String?, template: String, log: TemplateBuildLog) {
        self.request = request
        self.owner = owner
        self.template = template
        self.log = log
    }

    var id: String { log.id }

    var isAnnounced: Bool { stage.withLock { if case .announced = $0 { true } else { false } } }

    /// Takes the step from announced to queued; false when it was taken before.
    func queue(_ plan: BuildPlan, parent: NodeTemplate) -> Bool {
        stage.withLock { stage in
            guard case .announced = stage else { return false }
            stage = .queued(plan, parent: parent)
            return true
        }
    }

    /// What is to be built, once.
    func take() -> (plan: BuildPlan, parent: NodeTemplate)? {
        stage.withLock { stage in
            guard case .queued(let plan, let parent) = stage else { return nil }
            stage = .over
            return (plan, parent)
        }
    }
}

/// What a client announces of a template it is about to build.
package struct TemplateRequest: Sendable {
    package var name: String
    /// The tags that are to lead to the build.
    package var tags: [String]
    /// nil: those of what it is built out of.
    package var cpus: Int?
    package var memoryMiB: Int?
    /// How much the disk is to be larger than that of what it is built out of; nil: not at all.
    package var extraDiskMiB: Int?

    package init(name: String, tags: [String] = [], cpus: Int? = nil, memoryMiB: Int? = nil, extraDiskMiB: Int? = nil) {
        self.name = name
        self.tags = tags
        self.cpus = cpus
        self.memoryMiB = memoryMiB
        self.extraDiskMiB = extraDiskMiB
    }

    static let maxTags = 32

    /// - Throws: `invalid_argument` naming the field.
    func check() throws(MartletError) {
        guard TemplateReference.isWord(name) else { throw .invalid("name", "must be letters, digits, - _ and .") }
        guard tags.count <= TemplateRequest.maxTags else {
            throw .invalid("tags", "holds more than \(TemplateRequest.maxTags)")
        }
        for tag in tags where !TemplateReference.isWord(tag) {
            throw .invalid("tags", "'\(tag.printable)' is no tag: letters, digits, - _ and .")
        }
        _ = try MachineShape(cpus: cpus ?? 1, memoryMiB: memoryMiB ?? 256)
        if let extraDiskMiB, !(0...65_536).contains(extraDiskMiB) {
            throw .invalid("disk", "\(extraDiskMiB) MiB more is outside 0...65536")
        }
    }
}
