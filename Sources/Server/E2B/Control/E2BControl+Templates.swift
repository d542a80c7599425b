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
    var template: String?
    var snapshot: String?

    /// What lists look for.
    var filter: String { snapshot ?? template ?? id }
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
        if SandboxName(rawValue: name) != nil, (try? await templates.get(name)) != nil {
            return SandboxOriginName(id: name, alias: name, template: name)
        }
        if let snapshot = try? snapshots.get(own, caller: caller) {
            return SandboxOriginName(
                id: snapshot.id, alias: snapshot.metadata[TemplateLabels.name] ?? snapshot.name, snapshot: snapshot.id)
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
            let isSame = name.name == wanted.name || snapshot.metadata[TemplateLabels.template] == wanted.name
            let tags = TemplateLabels.tags(of: snapshot)
            return isSame && (wanted.tag.map { tags.contains($0) || name.tag == $0 } ?? true)
        }
        return found.map {
            SandboxOriginName(
                id: $0.metadata[TemplateLabels.template] ?? $0.id, alias: wanted.name, snapshot: $0.id)
        }
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
        let own = try await templates.list().filter { $0.state == "ready" || $0.state == "stale" }
        return try E2BControl.answer(own.map(TemplateInfo.init))
    }

    @Sendable func alias(_ call: APICall) async throws -> Response {
        let origin = try await origin(call.parameter("alias"), caller: call.caller)
        return try E2BControl.answer(TemplateAlias(templateID: origin.id, public: origin.template != nil))
    }

    /// Deletes a snapshot, or what a client has built. The host's own templates are its operator's.
    @Sendable func deleteTemplate(_ call: APICall) async throws -> Response {
        let name = call.parameter("template")
        let origin = try await origin(name, caller: call.caller)
        guard let snapshot = origin.snapshot else {
            throw MartletError(.permissionDenied, "template '\(name.prefix(100))': it belongs to the host's operator")
        }
        _ = try await snapshots.delete(snapshot, caller: call.caller)
        return Response(status: .noContent)
    }
}

extension TemplateLabels {
    static func tags(of snapshot: SnapshotResource) -> [String] {
        (snapshot.metadata[tags] ?? "").split(separator: ",").map(String.init)
    }
}

extension TemplateInfo {
    init(_ template: TemplateResource) {
        self.init(
            templateID: template.name, buildID: template.digest ?? "", cpuCount: template.cpus,
            memoryMB: template.memoryMiB, diskSizeMB: template.diskMiB, isPublic: true, names: [template.name],
            createdAt: template.builtAt?.description, status: template.state == "ready" ? "ready" : "building")
    }
}
