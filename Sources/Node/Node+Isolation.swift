import ImageStore
import SandboxEngine
import SandboxModel

extension Node {
    /// The engine that runs a sandbox: the one it asks for, else its template's, else what the operator prefers.
    ///
    /// - Throws: `unsupported` when it is not here, `permission_denied` when its wall is weaker than the operator allows.
    func engine(for spec: SandboxSpec, _ template: TemplateDefinition) async throws -> any SandboxEngine {
        var choice = spec.isolation
        if choice == .auto { choice = template.isolation ?? .auto }
        if choice == .auto { choice = configuration.defaultIsolation }
        guard case .engine(let name) = choice, let engine = engines.first(where: { $0.name == name }) else {
            // The engine that microVMs come from need not be called what it usually is.
            if choice == .microVM, let engine = engines.first(where: { $0.bakesTemplates }) {
                return try await checked(engine)
            }
            throw MartletError(
                .unsupported,
                "isolation: there is no engine \(choice) here; known: "
                    + engines.map { IsolationChoice.usualName(of: $0.name) }.joined(separator: ", "),
                details: ["field": "isolation"])
        }
        return try await checked(engine)
    }

    private func checked(_ engine: any SandboxEngine) async throws -> any SandboxEngine {
        let report = await engine.inspect()
        guard report.isAvailable else {
            throw MartletError(
                .unsupported, "isolation: engine \(engine.name) cannot be used on this host: \(report.reason)",
                details: ["field": "isolation"])
        }
        try await checkStrength(of: engine)
        return engine
    }

    /// - Throws: `permission_denied` when the wall of an engine is weaker than the operator allows.
    func checkStrength(of engine: any SandboxEngine) async throws(MartletError) {
        guard let floor = configuration.minimumIsolation else { return }
        let level = await engine.isolation().level
        guard level >= floor else {
            throw MartletError(
                .permissionDenied,
                "isolation: engine \(engine.name) gives level \(level.rawValue) on this host, and the operator's minimum is "
                    + floor.rawValue,
                details: ["field": "isolation", "level": level.rawValue, "minimum_isolation": floor.rawValue])
        }
    }
}
