import LinuxSystem
import Logging
import Metrics
import Node
import SandboxModel
import Synchronization

/// Templates that clients build out of others: steps run in a sandbox, whose disk then becomes a template of the
/// client's own. A build belongs to the control plane, not to the request that asked for it; one that a daemon's end cuts
/// off leaves nothing but a sandbox without a record, which the next daemon ends.
package final class TemplateBuilds: Sendable {
    /// Builds at once, and those that wait.
    private static let width = 2
    private static let maxWaiting = 64
    /// Builds of one key that are announced, wait or run.
    private static let maxOpen = 16

    let node: any NodeService
    let index: TemplateIndex
    let files: BuildFiles
    private let logs: TemplateBuildLogs
    private let maxTemplates: Int
    let logger: Logger
    private let jobs = Mutex<[String: TemplateBuildJob]>([:])
    private let queue = BoundedChannel<TemplateBuildJob>(capacity: maxWaiting)

    init(
        node: any NodeService, index: TemplateIndex, files: BuildFiles, logs: TemplateBuildLogs, maxTemplates: Int,
        logger: Logger
    ) {
        self.node = node
        self.index = index
        self.files = files
        self.logs = logs
        self.maxTemplates = maxTemplates
        self.logger = logger
    }

    /// A build a client has announced.
    package struct Announced: Sendable {
        package var build: String
        package var template: String
        package var name: String
        package var tags: [String]
    }

    /// Takes note of a build to come, so that its files can be sent.
    ///
    /// - Throws: `invalid_argument`, `conflict` (a name of the host's own), `resource_exhausted`.
    package func announce(_ request: TemplateRequest, caller: Caller) async throws -> Announced {
        var request = request
        if request.tags.isEmpty { request.tags = [TemplateReference.standardTag] }
        try request.check()
        let host = try await node.templates().filter { $0.derivation == nil }
        guard !host.contains(where: { $0.name == request.name || $0.aliases.contains(request.name) }) else {
            throw MartletError(
                .conflict, "build template: '\(request.name)' is a template of this host: choose another name",
                details: ["field": "name"])
        }
        guard index.count(of: caller.keyID) < maxTemplates else {
            throw MartletError(
                .resourceExhausted,
                "build template: this key has all the \(maxTemplates) builds of templates it may have: delete one first"
            )
        }
        let job = try jobs.withLock { jobs throws(MartletError) in
            jobs = jobs.filter { !$0.value.isForgotten }
            guard jobs.values.count(where: { $0.owner == caller.keyID && !$0.log.isOver }) < TemplateBuilds.maxOpen
            else {
                throw MartletError(
                    .resourceExhausted, "build template: this key has \(TemplateBuilds.maxOpen) builds under way")
            }
            let template =
                index.family(request.name, caller: caller).first { $0.derivation?.owner == caller.keyID }?
                .derivation?.template
                ?? jobs.values.first { $0.owner == caller.keyID && $0.request.name == request.name }?.template
                ?? RandomID.make(prefix: "t")
            let log = TemplateBuildLog(
                id: TemplateBuilds.makeID(), template: request.name, force: false, owner: .some(caller.keyID))
            let job = TemplateBuildJob(request: request, owner: caller.keyID, template: template, log: log)
            jobs[job.id] = job
            return job
        }
        logs.add(job.log)
        return Announced(build: job.id, template: job.template, name: request.name, tags: request.tags)
    }

    /// Begins an announced build.
    ///
    /// - Throws: `invalid_argument`, `not_found` (build, parent), `conflict` when it was begun before,
    ///   `resource_exhausted` when too many wait.
    package func start(_ build: String, of template: String, _ plan: BuildPlan, caller: Caller) async throws {
        let job = try job(build, of: template, caller: caller)
        try plan.check()
        let parent = try await parent(plan.parent, caller: caller)
        guard job.queue(plan, parent: parent) else {
            throw MartletError(.conflict, "build template: \(build.printable) was begun before")
        }
        guard queue.offer(job) else {
            let error = MartletError(.resourceExhausted, "build template: too many builds wait")
            job.log.end(error)
            throw error
        }
    }

    private func parent(_ reference: TemplateReference, caller: Caller) async throws -> NodeTemplate {
        if let own = try index.find(reference, caller: caller) { return own }
        let host = try await node.templates().filter { $0.derivation == nil }
        let named = host.first { $0.name == reference.name } ?? host.first { $0.aliases.contains(reference.name) }
        guard let named, reference.tag == nil || reference.tag == TemplateReference.standardTag else {
            throw TemplateIndex.notFound(reference)
        }
        guard named.state == "ready" || named.state == "stale" else {
            throw MartletError(
                .failedPrecondition, "template \(named.name) is not built: its operator runs martlet template build")
        }
        return named
    }

    private func job(_ build: String, of template: String, caller: Caller) throws(MartletError) -> TemplateBuildJob {
        let job = jobs.withLock { $0[build] }
        guard let job, job.template == template, caller.isAdmin || job.owner == caller.keyID else {
            throw MartletError(
                .notFound, "template build: '\(build.printable)' is not known; a restart forgets builds under way")
        }
        return job
    }

    /// Whom a template belongs to that is there or announced.
    ///
    /// - Throws: `not_found`, also for what is not the caller's.
    private func owner(of template: String, caller: Caller) throws(MartletError) -> String? {
        let owners =
            jobs.withLock { $0.values.filter { $0.template == template }.map(\.owner) }
            + index.family(template, caller: caller).map { $0.derivation?.owner }
        guard let owner = owners.first, caller.isAdmin || owner == caller.keyID else {
            throw TemplateIndex.notFound(TemplateReference(name: template))
        }
        return owner
    }

    /// Takes in an archive for the builds of a template, whoever has been given leave to send it.
    ///
    /// - Throws: `not_found`, and what `BuildFiles.receive` throws.
    package func receive(
        _ hash: String, for template: String, announced: Int?, from next: () async throws -> [UInt8]?
    ) async throws {
        // Leave was given to the owner; an administrator finds the template whosever it is.
        let owner = try owner(of: template, caller: .local)
        try await files.receive(hash, owner: owner, announced: announced, from: next)
    }

    /// Whether an archive is there for the builds of a template.
    ///
    /// - Throws: `not_found`, `invalid_argument`.
    package func hasFiles(_ hash: String, for template: String, caller: Caller) throws(MartletError) -> Bool {
        try files.has(hash, owner: try owner(of: template, caller: caller))
    }

    private static func makeID() -> String {
        // A UUID of random bits (RFC 9562, version 4): some clients take builds to have such ids.
        var generator = SystemRandomNumberGenerator()
        var bytes = (0..<16).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
        bytes[6] = bytes[6] & 0x0F | 0x40
        bytes[8] = bytes[8] & 0x3F | 0x80
        let digits = Array("0123456789abcdef")
        var text = ""
        for (position, byte) in bytes.enumerated() {
            if [4, 6, 8, 10].contains(position) { text.append("-") }
            text.append(digits[Int(byte >> 4)])
            text.append(digits[Int(byte & 15)])
        }
        return text
    }

    // MARK: Building

    /// Builds what is asked for, a few at a time, until cancelled.
    func run() async {
        await withDiscardingTaskGroup { group in
            let places = Places(TemplateBuilds.width)
            while let batch = try? await queue.nextBatch() {
                for job in batch {
                    guard (try? await places.take()) != nil else { break }
                    group.addTask {
                        await self.run(job)
                        places.giveBack()
                    }
                }
            }
        }
        for job in jobs.withLock({ Array($0.values) }) where !job.log.isOver {
            job.log.end(MartletError(.unavailable, "build template: \(job.request.name): the daemon is ending"))
        }
    }

    private func run(_ job: TemplateBuildJob) async {
        guard let (plan, parent) = job.take() else { return }
        let outcome: String
        do {
            let made = try await TemplateBuilder(builds: self, job: job, plan: plan, parent: parent).build()
            index.put(made)
            await supersede(by: made)
            job.log.end(nil)
            outcome = "succeeded"
        } catch {
            let failure =
                error as? MartletError
                ?? MartletError(
                    error is CancellationError ? .unavailable : .internal,
                    "build template: \(job.request.name): \(error)")
            job.log.end(failure)
            outcome = "failed"
        }
        Counter(label: "template_builds_total", dimensions: [("outcome", outcome)]).increment()
        logger.info(
            "template build over",
            metadata: ["template": "\(job.request.name)", "build": "\(job.id)", "outcome": "\(outcome)"])
    }
}

extension TemplateBuildJob {
    /// Whether nobody will ask for it any more.
    fileprivate var isForgotten: Bool {
        isAnnounced ? announcedAt.adding(seconds: 3600) < .now : log.isOver
    }
}
