import Node
import SandboxModel
import Synchronization

/// The templates that were built out of others, in memory: each is one build, found by its id, or by name and tag for
/// whom it belongs to. What others have is not there. The node holds the same, durable.
final class TemplateIndex: Sendable {
    private let builds = Mutex<[String: NodeTemplate]>([:])

    /// Takes up what the node has.
    func load(_ templates: [NodeTemplate]) {
        let derived = templates.filter { $0.derivation != nil }.map { ($0.name, $0) }
        builds.withLock { $0 = Dictionary(derived, uniquingKeysWith: { $1 }) }
    }

    func put(_ template: NodeTemplate) { builds.withLock { $0[template.name] = template } }
    func remove(_ build: String) { _ = builds.withLock { $0.removeValue(forKey: build) } }
    func build(_ id: String) -> NodeTemplate? { builds.withLock { $0[id] } }

    /// All a caller may see.
    func visible(to caller: Caller) -> [NodeTemplate] {
        builds.withLock { $0.values.filter { caller.mayUse($0) } }
    }

    /// How many builds a key has.
    func count(of owner: String?) -> Int {
        builds.withLock { $0.values.count { $0.derivation?.owner == owner } }
    }

    /// All builds of a template, by its id or name, the newest first; an administrator's own go before those of others.
    func family(_ name: String, caller: Caller) -> [NodeTemplate] {
        let found = visible(to: caller).filter { $0.derivation?.name == name || $0.derivation?.template == name }
        let own = found.filter { $0.derivation?.owner == caller.keyID }
        return (own.isEmpty ? found : own).sorted { TemplateIndex.age($0) > TemplateIndex.age($1) }
    }

    private static func age(_ build: NodeTemplate) -> Timestamp { build.builtAt ?? Timestamp(milliseconds: 0) }

    /// The build that is meant by a name: nil where it means none of these.
    ///
    /// - Throws: `not_found` for what is somebody else's, `conflict` for a name that several have.
    func find(_ reference: TemplateReference, caller: Caller) throws(MartletError) -> NodeTemplate? {
        if let build = build(reference.name) {
            guard caller.mayUse(build), reference.tag == nil else { throw TemplateIndex.notFound(reference) }
            return build
        }
        guard !TemplateIndex.isBuildID(reference.name) else { throw TemplateIndex.notFound(reference) }
        let family = family(reference.name, caller: caller)
        guard let newest = family.first else { return nil }
        guard Set(family.map { $0.derivation?.template }).count == 1 else {
            throw MartletError(
                .conflict, "template: '\(reference)' is the name of several, of different keys: use an id",
                details: ["ids": family.map(\.name).joined(separator: ", ")])
        }
        let tagged = family.first { $0.derivation?.tags[reference.tag ?? TemplateReference.standardTag] != nil }
        if let tagged { return tagged }
        guard reference.tag == nil else { throw TemplateIndex.notFound(reference) }
        return newest
    }

    /// A build of the same recipe, of the same owner.
    func same(recipe: String, owner: String?) -> NodeTemplate? {
        builds.withLock { builds in
            builds.values.first {
                $0.derivation?.recipe == recipe && $0.derivation?.owner == owner && $0.state == "ready"
            }
        }
    }

    /// Whether a name has the form of a build's id: one that is not here is another control plane's on the same images.
    private static func isBuildID(_ name: String) -> Bool {
        name.split(separator: "-", omittingEmptySubsequences: false).map(\.utf8.count) == [8, 4, 4, 4, 12]
            && name.utf8.allSatisfy { $0.isDigit || "abcdef-".utf8.contains($0) }
    }

    static func notFound(_ reference: TemplateReference) -> MartletError {
        MartletError(.notFound, "template: '\(reference.description.printable)' does not exist")
    }
}

extension Caller {
    /// Whether a template is the host's own, or this caller's, or the caller may use all.
    func mayUse(_ template: NodeTemplate) -> Bool {
        guard let derivation = template.derivation, !isAdmin else { return true }
        return keyID != nil && derivation.owner == keyID
    }
}
