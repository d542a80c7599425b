import Logging
import MartletAPI
import Node
import SandboxModel

/// Templates and their builds. A build belongs to the control plane, not to the request that asked for it.
package final class Templates: Sendable {
    private let node: any NodeService
    private let logger: Logger
    private let index: TemplateIndex
    private let logs: TemplateBuildLogs
    /// Templates that clients build out of others.
    package let builds: TemplateBuilds
    private let queue = BoundedChannel<TemplateBuildLog>(capacity: 64)

    init(node: any NodeService, index: TemplateIndex, files: BuildFiles, maxTemplatesPerKey: Int, logger: Logger) {
        self.node = node
        self.index = index
        self.logger = logger
        logs = TemplateBuildLogs()
        builds = TemplateBuilds(
            node: node, index: index, files: files, logs: logs, maxTemplates: maxTemplatesPerKey, logger: logger)
    }

    /// Every template there is a definition of, and those that were built out of others and are the caller's.
    package func list(caller: Caller) async throws -> [TemplateResource] {
        try await node.templates().filter(caller.mayUse).map(TemplateResource.init)
    }

    /// One template, by its name, an alias, or, of one that was built out of another, its id, with a tag if need be.
    ///
    /// - Throws: `not_found`.
    package func get(_ name: String, caller: Caller) async throws -> TemplateResource {
        if let reference = try? TemplateReference.parse(name, field: "template"),
            let own = try index.find(reference, caller: caller)
        {
            return TemplateResource(own)
        }
        let templates = try await node.templates().filter { $0.derivation == nil }
        let named = templates.first { $0.name == name } ?? templates.first { $0.aliases.contains(name) }
        guard let template = named else {
            throw MartletError(.notFound, "template: '\(name.printable)' does not exist")
        }
        return TemplateResource(template)
    }

    /// The host's template that stands in for a container image; nil when none does.
    package func standIn(for image: String) async throws -> TemplateResource? {
        try await node.templates().first { $0.derivation == nil && $0.images.contains(image) }.map(
            TemplateResource.init)
    }

    /// Asks for a build; while one of the same template is under way, that one is the answer.
    ///
    /// - Throws: `invalid_argument`, `not_found`, `permission_denied`, `resource_exhausted`.
    package func build(_ request: BuildTemplateRequest, caller: Caller) async throws -> TemplateBuild {
        try Templates.checkAdmin(caller)
        let name = try await get(SandboxName.parse(request.name, field: "name").rawValue, caller: caller).name
        let (log, isNew) = logs.underWay(name, force: request.force ?? false)
        if isNew, !queue.offer(log) {
            let error = MartletError(.resourceExhausted, "build template: too many builds wait")
            log.end(error)
            throw error
        }
        return log.current
    }

    /// One build, of those the daemon remembers since its start.
    ///
    /// - Throws: `not_found`.
    package func build(_ id: String, of template: String, caller: Caller) throws(MartletError) -> TemplateBuild {
        try logs.find(id, of: template, caller: caller).current
    }

    /// Lines of what a build has told, from a place on, with how it stands now.
    ///
    /// - Throws: `not_found`.
    package func lines(
        of build: String, from offset: Int, limit: Int, caller: Caller
    ) throws(MartletError) -> TemplateBuildLines {
        let log = try logs.find(build, caller: caller)
        // First how it stands: of one that is over no line is missed by who asks until there are none.
        let now = log.current
        return TemplateBuildLines(now: now, lines: log.lines(from: offset, limit: limit))
    }

    /// What a build tells: everything so far, then what comes, until it is over.
    package func follow(
        _ id: String, of template: String, caller: Caller, to body: (TemplateBuild) async throws -> Void
    ) async throws {
        try await logs.find(id, of: template, caller: caller).follow(body)
    }

    /// Removes what was built of a template: of the host's own, its definition stays; of one that was built out of another,
    /// all its builds, or the one whose id is given.
    ///
    /// - Throws: `not_found`, `permission_denied`, `conflict` while a sandbox uses it.
    package func remove(_ name: String, caller: Caller) async throws {
        if let reference = try? TemplateReference.parse(name, field: "template"),
            let own = try index.find(reference, caller: caller)
        {
            let isOne = own.name == name || reference.tag != nil
            let template = own.derivation?.template ?? name
            for build in isOne ? [own] : index.family(template, caller: caller) { try await builds.drop(build) }
            return
        }
        try Templates.checkAdmin(caller)
        try await node.removeTemplate(get(name, caller: caller).name)
    }

    private static func checkAdmin(_ caller: Caller) throws(MartletError) {
        guard caller.isAdmin else {
            throw MartletError(.permissionDenied, "templates: only an administrator's key may change them")
        }
    }

    /// Builds what is asked for until cancelled: the host's own templates one after another, others beside them.
    func run() async {
        await withDiscardingTaskGroup { group in
            group.addTask { await self.builds.run() }
            group.addTask {
                while let batch = try? await self.queue.nextBatch() {
                    for log in batch { await self.run(log) }
                }
            }
        }
        for log in logs.open {
            log.end(MartletError(.unavailable, "build template: \(log.template): the daemon is ending"))
        }
    }

    private func run(_ log: TemplateBuildLog) async {
        do {
            _ = try await node.buildTemplate(log.template, force: log.force) { log.progress($0) }
            log.end(nil)
            logger.info("template built", metadata: ["template": "\(log.template)"])
        } catch {
            let failure =
                error as? MartletError
                ?? MartletError(
                    error is CancellationError ? .unavailable : .internal, "build template: \(log.template): \(error)")
            log.end(failure)
            logger.error(
                "building a template failed", metadata: ["template": "\(log.template)", "error": "\(failure)"])
        }
    }
}

extension TemplateResource {
    init(_ template: NodeTemplate) {
        self.init(
            name: template.name, description: template.description, state: template.state, digest: template.digest,
            kernel: template.kernel, sizeBytes: template.sizeBytes, builtAt: template.builtAt, cpus: template.cpus,
            memoryMiB: template.memoryMiB, diskMiB: template.diskMiB, captures: template.captures,
            aliases: template.aliases, images: template.images,
            derived: template.derivation.map { derivation in
                Derived(
                    template: derivation.template, name: derivation.name, tags: derivation.tags.keys.sorted(),
                    parent: derivation.parent, user: derivation.user, workingDirectory: derivation.workingDirectory)
            })
    }
}
