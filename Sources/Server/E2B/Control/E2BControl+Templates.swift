import ControlPlane
import E2BProtocol
import Hummingbird
import MartletAPI
import SandboxModel

/// What a sandbox is made from, by the name a client uses for it.
struct SandboxOriginName: Sendable, Equatable {
    /// What clients are told: the template's name, the snapshot's id, or the built template's id.
    var id: String
    var alias: String?
    /// A template's name, or the id of a build.
    var template: String?
    var snapshot: String?
    /// Of a template that was built out of another one.
    var derived: TemplateResource.Derived?

    /// Who programs run as, and where they begin, unless the client says so; nil is what E2B has.
    var user: String?
    var workingDirectory: String?

    /// What lists look for.
    var filter: String { snapshot ?? template ?? id }
}

extension SandboxOriginName {
    fileprivate init(_ snapshot: SnapshotResource, alias: String?) {
        self.init(
            id: snapshot.id, alias: alias, snapshot: snapshot.id, user: snapshot.metadata[TemplateLabels.user],
            workingDirectory: snapshot.metadata[TemplateLabels.workingDirectory])
    }
}

/// Templates: listed, found by their aliases, deleted.
extension E2BControl {
    /// Finds what a name stands for: a template of the host, an alias of one, a snapshot by id or name, or what a build
    /// of a client's has come to.
    ///
    /// - Throws: `not_found`.
    func origin(_ text: String, caller: Caller) async throws -> SandboxOriginName {
        let own = text.split(separator: "/").last.map(String.init) ?? text
        let name = E2BConstants.aliases[own] ?? own
        if let built = try labelled(text, caller: caller) { return built }
        let wanted = (try? TemplateLabels.checkedName(name))?.whole ?? name
        if let found = try? await templates.get(wanted, caller: caller) {
            guard let derived = found.derived else { return SandboxOriginName(id: name, alias: name, template: name) }
            return SandboxOriginName(
                id: derived.template, alias: derived.name, template: found.name, derived: derived, user: derived.user,
                workingDirectory: derived.workingDirectory)
        }
        if let snapshot = try? snapshots.get(own, caller: caller) {
            return SandboxOriginName(snapshot, alias: snapshot.metadata[TemplateLabels.name] ?? snapshot.name)
        }
        throw MartletError(.notFound, "template '\(text.prefix(100))' not found")
    }

    /// The newest snapshot that carries a client's name; nil if none does.
    private func labelled(_ text: String, caller: Caller) throws -> SandboxOriginName? {
        guard let wanted = try? TemplateLabels.checkedName(text) else { return nil }
        let found = try newest(caller) { snapshot in
            guard let label = snapshot.metadata[TemplateLabels.name],
                let name = try? TemplateLabels.checkedName(label)
            else { return false }
            return name.name == wanted.name && (wanted.tag.map { name.tag == $0 } ?? true)
        }
        return found.map { SandboxOriginName($0, alias: wanted.name) }
    }

    /// The newest of the caller's snapshots for which something holds.
    func newest(_ caller: Caller, where holds: (SnapshotResource) -> Bool) throws -> SnapshotResource? {
        var cursor: String?
        repeat {
            let page = try snapshots.list(SnapshotFilter(kind: .snapshot, limit: 1000, cursor: cursor), caller: caller)
            if let found = page.items.first(where: holds) { return found }
            cursor = page.nextCursor
        } while cursor != nil
        return nil
    }

    @Sendable func listTemplates(_ call: APICall) async throws -> Response {
        let own = try await templates.list(caller: call.caller).filter { $0.state == "ready" || $0.state == "stale" }
        // Of several builds of one template the one that its name alone means.
        var infos: [String: TemplateInfo] = [:]
        for template in own.sorted(by: { E2BControl.isLess($0, $1) }) {
            infos[template.family] = TemplateInfo(template)
        }
        return try E2BControl.answer(infos.values.sorted { $0.templateID < $1.templateID })
    }

    private static func isLess(_ left: TemplateResource, _ right: TemplateResource) -> Bool {
        func rank(_ template: TemplateResource) -> (Int, Int64) {
            let isStandard = template.derived?.tags.contains(TemplateReference.standardTag) ?? true
            return (isStandard ? 1 : 0, template.builtAt?.milliseconds ?? 0)
        }
        return rank(left) < rank(right)
    }

    @Sendable func getTemplate(_ call: APICall) async throws -> Response {
        let origin = try await origin(call.parameter("template"), caller: call.caller)
        guard let name = origin.template else {
            throw MartletError(.notFound, "template '\(call.parameter("template").prefix(100))' not found")
        }
        return try E2BControl.answer(TemplateInfo(try await templates.get(name, caller: call.caller)))
    }

    @Sendable func alias(_ call: APICall) async throws -> Response {
        let origin = try await origin(call.parameter("alias"), caller: call.caller)
        return try E2BControl.answer(
            TemplateAlias(templateID: origin.id, public: origin.template != nil && origin.derived == nil))
    }

    /// Deletes a snapshot, or what a client has built. The host's own templates are its operator's.
    @Sendable func deleteTemplate(_ call: APICall) async throws -> Response {
        let name = call.parameter("template")
        let origin = try await origin(name, caller: call.caller)
        if let derived = origin.derived {
            try await templates.remove(derived.template, caller: call.caller)
            return Response(status: .noContent)
        }
        guard let snapshot = origin.snapshot else {
            throw MartletError(.permissionDenied, "template '\(name.prefix(100))': it belongs to the host's operator")
        }
        _ = try await snapshots.delete(snapshot, caller: call.caller)
        return Response(status: .noContent)
    }
}

extension TemplateResource {
    /// What all builds of one template have in common.
    fileprivate var family: String { derived?.template ?? name }
}

extension TemplateInfo {
    init(_ template: TemplateResource) {
        self.init(
            templateID: template.derived?.template ?? template.name,
            buildID: template.derived == nil ? template.digest ?? "" : template.name, cpuCount: template.cpus,
            memoryMB: template.memoryMiB, diskSizeMB: template.diskMiB, isPublic: template.derived == nil,
            names: [template.derived?.name ?? template.name],
            createdAt: template.builtAt?.description, status: template.state == "ready" ? "ready" : "building")
    }
}
