import LinuxSystem
import Logging
import SandboxModel

extension ImageStore {
    /// A built template, ready to boot.
    ///
    /// Cheap when nothing has changed since the last call: a few `stat`s. Makes the initramfs anew when the agent has
    /// changed.
    /// - Throws: `not_found` for an unknown name; `failed_precondition` saying how to build it when it is not built or
    ///   not whole.
    package func template(named name: String) async throws -> TemplateImage {
        let name = try canonicalName(name)
        if let cached = images[name], cached.stamps.allSatisfy({ FileStamp(path: $0.key) == $0.value }) {
            return cached.image
        }
        let definition = try definition(named: name)
        let record = try intactRecord(name)
        if record.derived == nil, record.recipe != definition.recipe {
            logger.warning(
                "template definition has changed since it was built; run martlet template build",
                metadata: ["template": "\(name)"])
        }
        return try await assemble(definition, record)
    }

    /// What the store holds of each template that has a definition or was built.
    package func status() async -> [TemplateStatus] {
        let captures = captureCounts()
        var result: [TemplateStatus] = []
        for name in Set(templateNames()).union(layout.recordedNames()).sorted() {
            result.append(await status(of: name, captures: captures))
        }
        return result
    }

    /// Reads a template's record and checks its parts, without regard to its definition.
    func intactRecord(_ name: String) throws -> TemplateRecord {
        let path = layout.record(name)
        guard StoreFiles.exists(path) else {
            throw MartletError(
                .failedPrecondition, "template \(name) is not built: run martlet template build \(name)")
        }
        do {
            let record = try TemplateRecord.unseal(path)
            for (kind, digest) in [(StoreLayout.Kind.roots, record.root), (.kernels, record.kernel)] {
                let directory = layout.part(kind, digest)
                _ = try PartManifest.verified(in: directory)
                StoreFiles.touch(directory + "/" + PartManifest.fileName)
            }
            return record
        } catch let error as CorruptFile {
            throw MartletError(
                .failedPrecondition,
                "template \(name) is corrupt: \(error): rebuild with martlet template build \(name) --force",
                details: ["reason": "corrupt"])
        }
    }

    /// Puts a template together from its finished parts.
    func assemble(_ definition: TemplateDefinition, _ record: TemplateRecord) async throws -> TemplateImage {
        let agent = try await currentAgentDigest()
        let builder = InitramfsBuilder(
            layout: layout, kernel: record.kernel, agent: guestAgent, agentDigest: agent)
        let initramfs = try await BlockingWork.run { try builder.build() }
        let kernel = layout.part(.kernels, record.kernel)
        let manifest = try PartManifest.verified(in: kernel)
        let id = Digest.hex(
            of: ["template-1", record.root, record.kernel, builder.digest, definition.runtimeDigest])
        partsByID[id] = [
            "template": record.name, "root": record.root, "kernel": record.kernel, "initramfs": builder.digest,
        ]
        let image = TemplateImage(
            id: id, name: record.name, definition: definition,
            rootDisk: layout.part(.roots, record.root) + "/root.img", kernel: kernel + "/vmlinuz",
            initramfs: initramfs, kernelVersion: manifest.details["version"] ?? "", builtAt: record.builtAt,
            isDerived: record.derived != nil)
        var sources = [layout.record(record.name), guestAgent, image.rootDisk, image.kernel, initramfs]
        if record.derived == nil {
            sources += [definitionPath(record.name), "\(templatesDirectory)/\(record.name)"]
            sources += definition.files?.sources ?? []
        }
        var stamps: [String: FileStamp] = [:]
        for path in sources { stamps[path] = FileStamp(path: path) }
        if stamps.count == sources.count { images[record.name] = CachedImage(stamps: stamps, image: image) }
        return image
    }

    /// The archive guests of a template boot from where their host reaches them by vsock; made when it is first asked for.
    ///
    /// - Throws: `failed_precondition` for a template that was built without the modules for it.
    package func vsockInitramfs(of template: TemplateImage) async throws -> String {
        guard let kernel = partsByID[template.id]?["kernel"],
            StoreFiles.exists(layout.part(.kernels, kernel) + "/vsock/order")
        else {
            throw MartletError(
                .failedPrecondition,
                "template \(template.name): it was built without the modules for vsock: build it again with "
                    + "martlet template build \(template.name) --force")
        }
        let builder = InitramfsBuilder(
            layout: layout, kernel: kernel, agent: guestAgent, agentDigest: try await currentAgentDigest(),
            channel: .vsock)
        return try await BlockingWork.run { try builder.build() }
    }

    private func status(of name: String, captures: [String: Int]) async -> TemplateStatus {
        var status = TemplateStatus(
            name: name, description: "", state: .absent, problem: nil, id: nil, sizeBytes: 0, builtAt: nil,
            captures: captures[name] ?? 0)
        if let record = try? TemplateRecord.unseal(layout.record(name)) {
            status.builtAt = record.builtAt
            status.sizeBytes =
                StoreFiles.allocatedBytes(layout.part(.roots, record.root))
                + StoreFiles.allocatedBytes(layout.part(.kernels, record.kernel))
        }
        do {
            let definition = try definition(named: name)
            status.description = definition.description
            status.definition = definition
            status.derivation = derived(name)?.derivation
            if StoreFiles.exists(layout.record(name)) {
                let record = try intactRecord(name)
                status.state = record.derived != nil || record.recipe == definition.recipe ? .ready : .stale
                if status.state == .stale { status.problem = "its definition has changed since it was built" }
                let image = try await assemble(definition, record)
                status.id = image.id
                status.kernelVersion = image.kernelVersion
            }
        } catch let error as MartletError {
            status.problem = error.message
            if error.details["reason"] == "corrupt" { status.state = .corrupt }
        } catch {
            status.problem = "\(error)"
        }
        if isBeingBuilt(name) { status.state = .building }
        return status
    }

    private func isBeingBuilt(_ name: String) -> Bool {
        let path = layout.buildLock(name)
        guard StoreFiles.exists(path) else { return false }
        do {
            return try AdvisoryLock.attempt(path, exclusive: false) == nil
        } catch {
            return false
        }
    }

    private func captureCounts() -> [String: Int] {
        var counts: [String: Int] = [:]
        for digest in StoreFiles.list(layout.parts(.captures)) {
            let path = layout.part(.captures, digest) + "/" + PartManifest.fileName
            if let name = (try? PartManifest.unseal(path))?.details["template"] { counts[name, default: 0] += 1 }
        }
        return counts
    }
}
