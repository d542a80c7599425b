import LinuxSystem
import SandboxModel

/// A disk in the making, to become that of a template; invisible to others.
package struct StagedDisk: Sendable {
    let staging: StagingDirectory
    /// Where the raw image is to be written.
    package var path: String { staging.path + "/root.img" }
}

/// What is to become a template that is built out of another one.
package struct DerivedTemplate: Sendable {
    package var name: String
    package var derivation: TemplateDerivation
    /// Its own, of whose files and packages nothing is left: they are in the disk.
    package var definition: TemplateDefinition

    package init(name: String, derivation: TemplateDerivation, definition: TemplateDefinition) {
        self.name = name
        self.derivation = derivation
        self.definition = definition
    }
}

/// A template whose parts are all there and that nobody sees yet.
package struct UnseenTemplate: Sendable {
    let record: TemplateRecord
    package let image: TemplateImage
    /// Keeps others from taking its parts for garbage.
    let lock: AdvisoryLock
}

extension ImageStore {
    /// Makes a directory for the disk of a template that is being derived. What is neither used nor discarded is
    /// collected after this process has ended.
    package func stageDisk() throws -> StagedDisk { StagedDisk(staging: try layout.stage()) }

    /// Throws a staged disk away.
    package func discard(_ staged: StagedDisk) async { await staged.staging.dispose() }

    /// Makes a template of a staged disk, with the kernel of the template it was built out of. It is to be captured, and
    /// then to be made known by `reveal`.
    ///
    /// - Throws: `failed_precondition` when that template is not whole any more, `conflict` for a name that is taken.
    package func derive(
        _ template: DerivedTemplate, from parent: String, disk: StagedDisk
    ) async throws -> UnseenTemplate {
        let kernel = try intactRecord(try canonicalName(parent)).kernel
        let lock = try lockName(of: template)
        let (layout, name, recipe) = (layout, template.name, template.derivation.recipe)
        let root = try await BlockingWork.run {
            try StoreFiles.setMode(disk.path, 0o444)
            try StoreFiles.synchronize(disk.path)
            let size = FileStamp(path: disk.path)?.size ?? 0
            let manifest = PartManifest(
                kind: "root", files: ["root.img": .init(size: size, sha256: nil)],
                details: ["recipe": recipe, "template": name, "derived": "yes"])
            try manifest.seal(to: disk.staging.path + "/" + PartManifest.fileName)
            // Named by its build alone: no other has the same.
            let digest = Digest.hex(of: ["derived-root", name])
            try layout.publish(disk.staging, as: .roots, digest)
            return digest
        }
        return try await unseen(template, root: root, kernel: kernel, lock)
    }

    /// Makes a template of the very disk another one has.
    ///
    /// - Throws: as `derive(_:from:disk:)` does.
    package func derive(_ template: DerivedTemplate, copying source: String) async throws -> UnseenTemplate {
        let lock = try lockName(of: template)
        let record = try intactRecord(try canonicalName(source))
        return try await unseen(template, root: record.root, kernel: record.kernel, lock)
    }

    private func lockName(of template: DerivedTemplate) throws -> AdvisoryLock {
        let name = try SandboxName.parse(template.name, field: "template").rawValue
        guard !StoreFiles.exists(layout.record(name)), !StoreFiles.exists(definitionPath(name)),
            let lock = try AdvisoryLock.attempt(layout.deriveLock(name), exclusive: true)
        else {
            throw MartletError(.conflict, "derive template: \(name): there is one of that name")
        }
        return lock
    }

    private func unseen(
        _ template: DerivedTemplate, root: String, kernel: String, _ lock: AdvisoryLock
    ) async throws -> UnseenTemplate {
        let record = TemplateRecord(
            name: template.name, recipe: template.derivation.recipe, root: root, kernel: kernel,
            builtAt: Timestamp(milliseconds: Clocks.realtimeMilliseconds),
            derived: .init(derivation: template.derivation, definition: template.definition))
        return UnseenTemplate(record: record, image: try await assemble(template.definition, record), lock: lock)
    }

    /// Makes a template known, durably.
    package func reveal(_ unseen: UnseenTemplate) throws {
        images[unseen.record.name] = nil
        // The disk of another template may have been removed meanwhile.
        guard StoreFiles.exists(layout.part(.roots, unseen.record.root)) else {
            throw MartletError(.failedPrecondition, "derive template: what it was copied from was removed meanwhile")
        }
        try unseen.record.seal(to: layout.record(unseen.record.name), mode: 0o600)
        try StoreFiles.remove(unseen.lock.path)
    }

    /// Removes what was made of a template that is not to be known.
    package func abandon(_ unseen: UnseenTemplate) async {
        images[unseen.record.name] = nil
        let collector = GarbageCollector(layout: layout, logger: logger)
        let (root, lock) = (unseen.record.root, unseen.lock)
        _ = try? await BlockingWork.run {
            collector.removeDerivedRoot(root)
            try StoreFiles.remove(lock.path)
        }
    }

    /// Replaces what is known of a derived template beside its disk: its tags, above all.
    ///
    /// - Throws: `not_found`.
    package func setDerivation(_ derivation: TemplateDerivation, of name: String) throws {
        guard var record = try? TemplateRecord.unseal(layout.record(name)), record.derived != nil else {
            throw MartletError(.notFound, "template: '\(name)' is none that was built out of another one")
        }
        record.derived?.derivation = derivation
        try record.seal(to: layout.record(name), mode: 0o600)
    }
}
