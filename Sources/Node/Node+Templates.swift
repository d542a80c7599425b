import ImageStore
import LinuxSystem
import Logging
import SandboxEngine
import SandboxModel

extension Node {
    package func templates() async throws -> [NodeTemplate] {
        await images.status().map(Node.nodeTemplate)
    }

    static func nodeTemplate(_ status: TemplateStatus) -> NodeTemplate {
        NodeTemplate(
            name: status.name, description: status.description, state: status.state.rawValue, digest: status.id,
            kernel: status.kernelVersion, sizeBytes: UInt64(clamping: status.sizeBytes), builtAt: status.builtAt,
            cpus: status.definition?.cpus ?? 0, memoryMiB: status.definition?.memoryMiB ?? 0,
            diskMiB: status.definition?.diskMiB ?? 0, captures: status.captures,
            aliases: status.definition?.aliases ?? [], images: status.definition?.images ?? [],
            derivation: status.derivation)
    }

    package func buildTemplate(
        _ name: String, force: Bool, progress: @escaping @Sendable (TemplateProgress) -> Void
    ) async throws -> NodeTemplate {
        let start = Clocks.monotonicNanoseconds
        let name = try await images.canonicalName(name)
        let engine = try await firstUsable("build: \(name)")
        let template = try await images.build(named: name, force: force) { step in
            progress(
                TemplateProgress(
                    stage: step.stage, index: step.index, count: step.count + 1, message: step.message,
                    elapsedMilliseconds: Double(step.elapsedMilliseconds)))
        }
        // A template is only ready when it is captured: the first create should not be the one to find out.
        let spec = SandboxSpec(id: .random(), template: name, hostname: name)
        forgetPrepared(name)
        let shape = try MachineShape(cpus: template.definition.cpus, memoryMiB: template.definition.memoryMiB)
        let key = PreparedImage.Key(template: name, shape: shape, engine: engine.name)
        let image = try await preparing.value(for: key) { [self] in
            try await prepare(template, key, engine, BakeMark()) { message in
                let elapsed = Double(Clocks.monotonicNanoseconds - start) / 1e6
                progress(
                    TemplateProgress(
                        stage: "capture", index: 0, count: 0, message: message, elapsedMilliseconds: elapsed))
            }
        }
        prepared[key] = image
        if configuration.pool.isEnabled, configuration.pool.hotTemplates.contains(name) { warmUp(spec.template) }
        return try await nodeTemplate(named: name)
    }

    /// What is known of a template that was just made.
    func nodeTemplate(named name: String) async throws -> NodeTemplate {
        guard let status = await images.status().first(where: { $0.name == name }) else {
            throw MartletError(.internal, "build: \(name): it is built but not listed")
        }
        return Node.nodeTemplate(status)
    }

    /// - Throws: `unavailable` when none works.
    func firstUsable(_ doing: String) async throws -> any SandboxEngine {
        for engine in engines where engine.bakesTemplates {
            if await engine.inspect().isAvailable { return engine }
        }
        throw MartletError(.unavailable, "\(doing): no engine works on this host: see martlet doctor")
    }

    /// Drops what is remembered of a template, so that the next use looks at the store.
    private func forgetPrepared(_ name: String) {
        for key in prepared.keys where key.template == name { prepared[key] = nil }
    }

    package func removeTemplate(_ name: String) async throws {
        let name = try await images.canonicalName(name)
        let users = running.values.filter { $0.info.template == name }.count
        guard users == 0 else {
            throw MartletError(.conflict, "remove: template \(name): \(users) sandboxes run from it: remove them first")
        }
        forgetPrepared(name)
        for (key, pool) in pools where key.template == name {
            pools[key] = nil
            for spare in pool.shells + pool.warm { await dispose(spare.machine, spare.home) }
        }
        try await images.remove(templateNamed: name)
    }
}
