import ImageStore
import LinuxSystem
import Logging
import NIOPosix
import SandboxEngine
import SandboxModel

extension Node {
    package func deriveTemplate(
        _ draft: TemplateDraft, progress: @escaping @Sendable (TemplateProgress) -> Void
    ) async throws -> NodeTemplate {
        let start = Clocks.monotonicNanoseconds
        @Sendable func tell(_ message: String) {
            let elapsed = Double(Clocks.monotonicNanoseconds - start) / 1e6
            progress(
                TemplateProgress(stage: "capture", index: 0, count: 0, message: message, elapsedMilliseconds: elapsed))
        }
        let unseen = try await unseenTemplate(draft, tell)
        do {
            let shape = try MachineShape(
                cpus: unseen.image.definition.cpus, memoryMiB: unseen.image.definition.memoryMiB,
                maxCPUs: max(HostFacts.processors, unseen.image.definition.cpus),
                maxMemoryMiB: Int(HostFacts.memory().total >> 20))
            let engine = try await firstUsable("derive template")
            let key = PreparedImage.Key(template: draft.name, shape: shape, engine: engine.name)
            // A template is only ready when it is captured: what is to run in it has come up then.
            let image = try await prepare(unseen.image, key, engine, BakeMark(), progress: tell)
            try await images.reveal(unseen)
            prepared[key] = image
        } catch {
            await images.abandon(unseen)
            throw Node.explained(error)
        }
        return try await nodeTemplate(named: draft.name)
    }

    private func unseenTemplate(
        _ draft: TemplateDraft, _ tell: @Sendable (String) -> Void
    ) async throws -> UnseenTemplate {
        guard case .sandbox(let id) = draft.source else {
            return try await images.derive(derived(draft, diskMiB: nil), copying: draft.parent)
        }
        tell("bringing the disk up to date")
        let (fresh, engine) = try await diskOnly(of: id)
        do {
            tell("writing the disk image")
            let disk = try await images.stageDisk()
            do {
                if engine.diskFormat == .layers {
                    for layer in fresh.image.layers { try QCOW2Header.check(layer) }
                }
                try await engine.writeDisk(of: fresh.image, to: disk.path)
                await discard(fresh.staged)
                return try await images.derive(
                    derived(draft, diskMiB: Int(fresh.image.diskBytes >> 20)), from: draft.parent, disk: disk)
            } catch {
                await images.discard(disk)
                throw error
            }
        } catch {
            await discard(fresh.staged)
            throw Node.explained(error)
        }
    }

    /// Captures a sandbox whose disk alone is wanted, and ends it.
    private func diskOnly(of id: SandboxID) async throws -> (FreshCapture, any SandboxEngine) {
        let fresh: FreshCapture
        do {
            fresh = try await lock(for: id).withLock { try await self.captureForTemplate(id) }
        } catch {
            try? await destroy(id)
            throw error
        }
        try? await destroy(id)
        guard let engine = engines.first(where: { $0.name == fresh.file.isolation.engine }) else {
            await discard(fresh.staged)
            throw unknown(id)
        }
        return (fresh, engine)
    }

    private func captureForTemplate(_ id: SandboxID) async throws -> FreshCapture {
        guard let sandbox = running[id] else { throw notRunning(id, "derive template") }
        // Its disk is to be booted by somebody else.
        try require(.reboot, "derive template", sandbox.file)
        return try await capture(sandbox, CaptureOptions(resumes: false, flushes: true))
    }

    private func derived(_ draft: TemplateDraft, diskMiB: Int?) async throws -> DerivedTemplate {
        var definition = try await images.definition(named: draft.parent)
        definition.name = draft.name
        definition.description = "\(draft.derivation.name), built from \(draft.derivation.parent)"
        definition.packages = []
        definition.exclude = []
        definition.files = nil
        definition.fileRules = []
        definition.aliases = []
        definition.images = []
        definition.isolation = nil
        definition.cpus = draft.cpus ?? definition.cpus
        definition.memoryMiB = draft.memoryMiB ?? definition.memoryMiB
        definition.diskMiB = diskMiB ?? definition.diskMiB
        definition.env.merge(draft.derivation.environment) { $1 }
        definition.user = draft.derivation.user ?? definition.user
        definition.warmup += draft.warmup
        if let service = draft.service {
            definition.services.removeAll { $0.name == service.name }
            definition.services.append(service)
        }
        return DerivedTemplate(name: draft.name, derivation: draft.derivation, definition: definition)
    }

    package func setDerivation(_ derivation: TemplateDerivation, of name: String) async throws {
        try await images.setDerivation(derivation, of: name)
    }
}
