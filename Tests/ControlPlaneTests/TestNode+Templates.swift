import LinuxSystem
import Node
import SandboxModel
import Synchronization

/// Templates that are built out of others: what a draft asks for is remembered, and its sandbox ended.
extension TestNode {
    var drafts: [TemplateDraft] { state.withLock { $0.drafts } }
    func failDerivations(_ error: MartletError?) { state.withLock { $0.deriveFailure = error } }
    func use(_ templates: Set<String>) { state.withLock { $0.templatesInUse = templates } }

    func deriveTemplate(
        _ draft: TemplateDraft, progress: @escaping @Sendable (TemplateProgress) -> Void
    ) async throws -> NodeTemplate {
        progress(TemplateProgress(stage: "capture", index: 0, count: 0, message: "capturing", elapsedMilliseconds: 0))
        if case .sandbox(let id) = draft.source { try await destroy(id) }
        let failure = state.withLock { state in
            state.drafts.append(draft)
            return state.deriveFailure
        }
        if let failure { throw failure }
        let template = NodeTemplate(
            name: draft.name, description: "derived", state: "ready", digest: "digest of \(draft.name)", kernel: nil,
            sizeBytes: 1, builtAt: Timestamp(milliseconds: Clocks.realtimeMilliseconds), cpus: draft.cpus ?? 1,
            memoryMiB: draft.memoryMiB ?? 256, diskMiB: 2048, captures: 1, derivation: draft.derivation)
        state.withLock { $0.derived[draft.name] = template }
        return template
    }

    func setDerivation(_ derivation: TemplateDerivation, of name: String) async throws {
        let isThere = state.withLock { state in
            state.derived[name]?.derivation = derivation
            return state.derived[name] != nil
        }
        guard isThere else { throw MartletError(.notFound, "template: '\(name)' is not on this node") }
    }
}
