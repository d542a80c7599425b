import CLinux
import Glibc
import LinuxSystem
import Logging
import SandboxModel

extension ImageStore {
    /// Builds a template, or finishes a build that was cut short; parts that are finished are kept.
    ///
    /// One build per template at a time on this machine: a second one waits, says so, and finds the result of the
    /// first. Cancelling stops it and leaves only finished parts behind.
    /// - Parameter force: makes every part anew even if the template is ready.
    /// - Throws: `not_found`, `failed_precondition` (not root, no agent, a tool or mirror missing),
    ///   `resource_exhausted` (disk full), `internal` with the last lines of the tool that failed.
    package func build(
        named name: String, force: Bool, progress: @escaping @Sendable (BuildProgress) -> Void
    ) async throws -> TemplateImage {
        let definition = try definition(named: name)
        let name = definition.name
        guard derived(name) == nil else {
            throw MartletError(
                .failedPrecondition,
                "build template \(name): it was built out of another one by its owner, and has no definition to build")
        }
        guard geteuid() == 0 else {
            throw MartletError(.failedPrecondition, "build template \(name): it takes root: run it with sudo")
        }
        _ = try await currentAgentDigest()
        let start = Clocks.monotonicNanoseconds
        @Sendable func reporter(_ stage: String, _ index: Int) -> StageReporter {
            StageReporter(stage: stage, index: index, count: 3, start: start, progress: progress)
        }
        let lock = try await AdvisoryLock.acquire(layout.buildLock(name)) {
            reporter("wait", 1).report("another build of template \(name) is running; waiting for it")
        }
        defer { withExtendedLifetime(lock) {} }
        if !force, let record = try? intactRecord(name), record.recipe == definition.recipe {
            reporter("initramfs", 3).report("template \(name) is up to date", fraction: 1)
            return try await assemble(definition, record)
        }
        try checkSpace(name)
        let sources = try DebianSources.ofThisMachine().list(suite: definition.suite)
        let root = try await rootPart(definition, force, sources, reporter("root file system", 1))
        let kernel = try await kernelPart(definition, force, sources, reporter("kernel", 2))
        let record = TemplateRecord(
            name: name, recipe: definition.recipe, root: root, kernel: kernel,
            builtAt: Timestamp(milliseconds: Clocks.realtimeMilliseconds))
        let last = reporter("initramfs", 3)
        last.report("packing the guest agent and its modules")
        let image = try await assemble(definition, record)
        try record.seal(to: layout.record(name), mode: 0o600)
        images[name] = nil
        last.report("template \(name) is ready", fraction: 1)
        logger.info(
            "template built",
            metadata: [
                "template": "\(name)", "template.id": "\(image.id)",
                "duration.ms": "\((Clocks.monotonicNanoseconds - start) / 1_000_000)",
            ])
        return image
    }

    /// Removes a built template with its captures, and what an unfinished build left; parts another uses stay.
    ///
    /// - Throws: `not_found` if it is neither defined nor built, `conflict` while it is being built.
    package func remove(templateNamed name: String) async throws {
        _ = try SandboxName.parse(name, field: "template")
        let name = try canonicalName(name)
        guard StoreFiles.exists(layout.record(name)) || StoreFiles.exists(definitionPath(name)) else {
            throw MartletError(.notFound, "no template '\(name)'")
        }
        guard let lock = try AdvisoryLock.attempt(layout.buildLock(name), exclusive: true) else {
            throw MartletError(.conflict, "remove template: \(name): it is being built")
        }
        defer { withExtendedLifetime(lock) {} }
        images[name] = nil
        let record = try? TemplateRecord.unseal(layout.record(name))
        try StoreFiles.remove(layout.record(name))
        let collector = GarbageCollector(layout: layout, logger: logger)
        try await BlockingWork.run { collector.removePartsUsed(onlyBy: name, root: record?.root) }
        // Its name is never used again, and so is the lock that removing it took.
        if record?.derived != nil { try StoreFiles.remove(layout.buildLock(name)) }
    }

    private func rootPart(
        _ definition: TemplateDefinition, _ force: Bool, _ sources: String, _ reporter: StageReporter
    ) async throws -> String {
        if !force, let digest = newestPart(.roots, matching: ["recipe": definition.recipe]) {
            reporter.report("already built", fraction: 1)
            return digest
        }
        return try await RootBuilder(layout: layout, definition: definition, sources: sources, reporter: reporter)
            .build()
    }

    private func kernelPart(
        _ definition: TemplateDefinition, _ force: Bool, _ sources: String, _ reporter: StageReporter
    ) async throws -> String {
        let matching = [
            "requested": definition.kernel, "suite": definition.suite,
            "modules": KernelModules.wanted.joined(separator: ","),
        ]
        if !force, let digest = newestPart(.kernels, matching: matching) {
            reporter.report("already fetched", fraction: 1)
            return digest
        }
        return try await KernelBuilder(layout: layout, definition: definition, sources: sources, reporter: reporter)
            .build()
    }

    /// The newest intact part with the given details.
    private func newestPart(_ kind: StoreLayout.Kind, matching details: [String: String]) -> String? {
        StoreFiles.list(layout.parts(kind)).compactMap { digest -> (Timestamp, String)? in
            guard let manifest = try? PartManifest.verified(in: layout.part(kind, digest)),
                details.allSatisfy({ manifest.details[$0.key] == $0.value })
            else { return nil }
            return (manifest.createdAt, digest)
        }.max { $0.0 < $1.0 }?.1
    }

    private func checkSpace(_ name: String) throws {
        let needed: UInt64 = 1536 << 20
        var space = clinux_space()
        try SystemError.check(clinux_filesystem_space(layout.directory, &space), "statvfs", layout.directory)
        guard space.available >= needed else {
            throw MartletError(
                .resourceExhausted,
                "build template \(name): \(layout.directory) has \(space.available >> 20) MiB free of "
                    + "\(needed >> 20) MiB needed: free some space or choose another data directory")
        }
    }
}
