import Logging
import MartletAPI
import Node
import SandboxModel
import Synchronization

/// Templates and their builds. A build belongs to the control plane, not to the request that asked for it.
package final class Templates: Sendable {
    /// Builds remembered after their end.
    private static let remembered = 50

    private let node: any NodeService
    private let logger: Logger
    private let queue = BoundedChannel<TemplateBuildLog>(capacity: 64)
    private let builds = Mutex<[TemplateBuildLog]>([])

    init(node: any NodeService, logger: Logger) {
        self.node = node
        self.logger = logger
    }

    /// Every template there is a definition of.
    package func list() async throws -> [TemplateResource] {
        try await node.templates().map(TemplateResource.init)
    }

    /// One template.
    ///
    /// - Throws: `not_found`.
    package func get(_ name: String) async throws -> TemplateResource {
        let templates = try await node.templates()
        let named = templates.first { $0.name == name } ?? templates.first { $0.aliases.contains(name) }
        guard let template = named else {
            throw MartletError(.notFound, "template: '\(name.printable)' does not exist")
        }
        return TemplateResource(template)
    }

    /// Asks for a build; while one of the same template is under way, that one is the answer.
    ///
    /// - Throws: `invalid_argument`, `not_found`, `permission_denied`, `resource_exhausted`.
    package func build(_ request: BuildTemplateRequest, caller: Caller) async throws -> TemplateBuild {
        try Templates.checkAdmin(caller)
        let name = try await get(SandboxName.parse(request.name, field: "name").rawValue).name
        let (log, isNew) = builds.withLock { builds in
            if let log = builds.first(where: { $0.template == name && !$0.isOver }) { return (log, false) }
            let log = TemplateBuildLog(template: name, force: request.force ?? false)
            builds.append(log)
            return (log, true)
        }
        if isNew {
            guard queue.offer(log) else {
                let error = MartletError(.resourceExhausted, "build template: too many builds wait")
                log.end(error)
                throw error
            }
            forgetOldest()
        }
        return log.current
    }

    /// One build, of those the daemon remembers since its start.
    ///
    /// - Throws: `not_found`.
    package func build(_ id: String, of template: String) throws(MartletError) -> TemplateBuild {
        try log(id, of: template).current
    }

    /// What a build tells: everything so far, then what comes, until it is over.
    package func follow(
        _ id: String, of template: String, to body: (TemplateBuild) async throws -> Void
    ) async throws {
        try await log(id, of: template).follow(body)
    }

    /// Removes what was built of a template.
    ///
    /// - Throws: `not_found`, `permission_denied`, `conflict` while a sandbox uses it.
    package func remove(_ name: String, caller: Caller) async throws {
        try Templates.checkAdmin(caller)
        try await node.removeTemplate(get(name).name)
    }

    private func log(_ id: String, of template: String) throws(MartletError) -> TemplateBuildLog {
        guard let log = builds.withLock({ $0.first { $0.id == id && $0.template == template } }) else {
            throw MartletError(.notFound, "template build: '\(id.printable)' is not known; a restart forgets builds")
        }
        return log
    }

    private static func checkAdmin(_ caller: Caller) throws(MartletError) {
        guard caller.isAdmin else {
            throw MartletError(.permissionDenied, "templates: only an administrator's key may change them")
        }
    }

    private func forgetOldest() {
        builds.withLock { builds in
            while builds.count > Templates.remembered, let index = builds.firstIndex(where: \.isOver) {
                builds.remove(at: index)
            }
        }
    }

    /// Builds what is asked for, one after another, until cancelled.
    func run() async {
        while let batch = try? await queue.nextBatch() {
            for log in batch { await run(log) }
        }
        for log in builds.withLock({ $0 }) where !log.isOver {
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
            memoryMiB: template.memoryMiB, diskMiB: template.diskMiB, captures: template.captures)
    }
}
