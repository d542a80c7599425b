import Logging
import Node
import SandboxModel

/// Tags, and builds that no tag leads to any more.
extension TemplateBuilds {
    /// Lets tags lead to a build, and no longer to others of the same template.
    ///
    /// - Throws: `not_found`, `invalid_argument`.
    package func assign(
        _ tags: [String], to reference: TemplateReference, caller: Caller
    ) async throws -> (build: String, tags: [String]) {
        let build = try own(reference, caller: caller)
        try TemplateBuilds.check(tags)
        for tag in tags { try await move(tag, to: build) }
        let now = index.build(build.name)?.derivation?.tags ?? [:]
        return (build.name, now.keys.sorted())
    }

    /// Takes tags from a template; a build that none is left of goes.
    ///
    /// - Throws: `not_found`, `invalid_argument`.
    package func remove(_ tags: [String], from name: String, caller: Caller) async throws {
        try TemplateBuilds.check(tags)
        let family = try family(name, caller: caller)
        for build in family {
            guard var derivation = build.derivation, !derivation.tags.keys.filter(tags.contains).isEmpty else {
                continue
            }
            for tag in tags { derivation.tags[tag] = nil }
            try await set(derivation, of: build)
        }
        await dropUntagged(family)
    }

    /// The tags of a template, which build each leads to, and since when.
    ///
    /// - Throws: `not_found`.
    package func tags(of name: String, caller: Caller) throws -> [(tag: String, build: String, since: Timestamp)] {
        try family(name, caller: caller).flatMap { build in
            (build.derivation?.tags ?? [:]).map { (tag: $0.key, build: build.name, since: $0.value) }
        }.sorted { $0.tag < $1.tag }
    }

    private func own(_ reference: TemplateReference, caller: Caller) throws(MartletError) -> NodeTemplate {
        guard let build = try index.find(reference, caller: caller) else { throw TemplateIndex.notFound(reference) }
        return build
    }

    private func family(_ name: String, caller: Caller) throws(MartletError) -> [NodeTemplate] {
        let reference = TemplateReference(name: name)
        let template = try own(reference, caller: caller).derivation?.template
        return index.family(template ?? name, caller: caller)
    }

    private static func check(_ tags: [String]) throws(MartletError) {
        try TemplateRequest(name: "x", tags: tags).check()
        guard !tags.isEmpty else { throw .invalid("tags", "names none") }
    }

    /// First to where it leads now, then from where it led: after a sudden end in between the newer one counts.
    private func move(_ tag: String, to build: NodeTemplate) async throws {
        guard var derivation = index.build(build.name)?.derivation else { return }
        derivation.tags[tag] = .now
        try await set(derivation, of: build)
        await take([tag], fromAllBut: build.name, of: derivation)
    }

    /// Tags of a new build lead to no older one of its template any more.
    func supersede(by made: NodeTemplate) async {
        guard let derivation = made.derivation else { return }
        await take(Array(derivation.tags.keys), fromAllBut: made.name, of: derivation)
    }

    private func take(_ tags: [String], fromAllBut build: String, of derivation: TemplateDerivation) async {
        let all = index.visible(to: .local).filter { $0.derivation?.template == derivation.template }
        for other in all where other.name != build {
            guard var old = other.derivation, !old.tags.keys.filter(tags.contains).isEmpty else { continue }
            for tag in tags { old.tags[tag] = nil }
            do {
                try await set(old, of: other)
            } catch {
                logger.warning("a tag could not be taken", metadata: ["build": "\(other.name)", "error": "\(error)"])
            }
        }
        await dropUntagged(all)
    }

    private func set(_ derivation: TemplateDerivation, of build: NodeTemplate) async throws {
        try await node.setDerivation(derivation, of: build.name)
        var changed = index.build(build.name) ?? build
        changed.derivation = derivation
        index.put(changed)
    }

    /// Removes builds no tag leads to. One that sandboxes run from stays until they are gone.
    func dropUntagged(_ builds: [NodeTemplate]) async {
        for build in builds {
            guard let now = index.build(build.name), now.derivation?.tags.isEmpty == true else { continue }
            do {
                try await drop(now)
            } catch let error as MartletError where error.code == .conflict {
                logger.debug("a build without a tag is in use", metadata: ["build": "\(build.name)"])
            } catch {
                logger.warning(
                    "a build without a tag could not be removed",
                    metadata: ["build": "\(build.name)", "error": "\(error)"])
            }
        }
    }

    /// Removes a build with all that was made of it.
    ///
    /// - Throws: `conflict` while a sandbox uses it.
    func drop(_ build: NodeTemplate) async throws {
        try await node.removeTemplate(build.name)
        index.remove(build.name)
    }

    /// Removes what nobody can ask for any more, and archives nobody has used for long.
    func sweep() async {
        await dropUntagged(index.visible(to: .local))
        let files = files
        await Task.detached { files.prune() }.value
    }
}
