import LinuxSystem
import Logging
import SandboxModel

/// Removes what nothing refers to any more; all of it blocks the thread.
struct GarbageCollector: Sendable {
    let layout: StoreLayout
    let logger: Logger
    /// Parts used more recently are left alone: a process may have looked them up a moment ago.
    var grace: Duration = .seconds(3600)
    /// A capture or initramfs nobody asked for in this time is removed; it can be made again.
    var unusedLimit: Duration = .seconds(30 * 86_400)
    /// How long corrupt parts are kept for a look.
    var corruptLimit: Duration = .seconds(7 * 86_400)

    /// Collects everything there is to collect; never fails as a whole.
    ///
    /// - Returns: how many things were removed.
    func run() -> Int {
        collectStaging() + collectCorrupt() + collectSuperseded() + collectDeriveLocks() + collectOrphans()
    }

    /// Removes parts that the (already removed) record of a template was the last to use, and what is made of them.
    ///
    /// - Parameter root: the address of its root disk; nil when its record could not be read.
    func removePartsUsed(onlyBy name: String, root: String?) {
        if let root { removeDerivedRoot(root) }
        let records = records()
        for digest in StoreFiles.list(layout.parts(.roots)) where !records.contains(where: { $0.root == digest }) {
            if manifest(.roots, digest)?.details["template"] == name { remove(.roots, digest) }
        }
        for digest in StoreFiles.list(layout.parts(.kernels)) where !records.contains(where: { $0.kernel == digest }) {
            if manifest(.kernels, digest)?.details["template"] == name { remove(.kernels, digest) }
        }
        _ = collectOrphans()
    }

    /// Removes a root disk that was built out of another template's and that no record names any more: unlike those made
    /// of a definition, it may have several.
    func removeDerivedRoot(_ digest: String) {
        guard isDerived(digest), !records().contains(where: { $0.root == digest }) else { return }
        remove(.roots, digest)
        _ = collectOrphans()
    }

    private func isDerived(_ root: String) -> Bool { manifest(.roots, root)?.details["derived"] != nil }

    private func collectStaging() -> Int {
        let names = StoreFiles.list(layout.staging)
        var count = 0
        for name in names where name.hasSuffix(".lock") {
            if (try? StagingDirectory.collect(lockPath: layout.staging + "/" + name)) == true { count += 1 }
        }
        return count
    }

    private func collectCorrupt() -> Int {
        var count = 0
        for name in StoreFiles.list(layout.corrupt) {
            let path = layout.corrupt + "/" + name
            guard isOlder(path, than: corruptLimit) else { continue }
            if (try? StoreFiles.remove(path)) != nil { count += 1 }
        }
        return count
    }

    /// Roots and kernels of earlier builds: their template's record points elsewhere, and nobody is building it.
    private func collectSuperseded() -> Int {
        let records = records()
        var count = 0
        for kind in [StoreLayout.Kind.roots, .kernels] {
            let used = Set(records.map { kind == .roots ? $0.root : $0.kernel })
            for digest in StoreFiles.list(layout.parts(kind)) where !used.contains(digest) {
                guard let manifest = manifest(kind, digest) else { continue }
                if manifest.details["derived"] != nil {
                    count += collectUnseen(digest, of: manifest.details["template"] ?? "") ? 1 : 0
                    continue
                }
                guard isOlder(manifestPath(kind, digest), than: grace),
                    let name = manifest.details["template"], records.contains(where: { $0.name == name }),
                    let lock = try? AdvisoryLock.attempt(layout.buildLock(name), exclusive: true)
                else { continue }
                count += remove(kind, digest) ? 1 : 0
                withExtendedLifetime(lock) {}
            }
        }
        return count
    }

    /// The root disk of a template that was being built out of another one when its builder ended.
    private func collectUnseen(_ root: String, of name: String) -> Bool {
        guard let lock = try? AdvisoryLock.attempt(layout.deriveLock(name), exclusive: true) else { return false }
        defer { try? StoreFiles.remove(lock.path) }
        // It may have become known since the records were read.
        guard !records().contains(where: { $0.root == root }) else { return false }
        return remove(.roots, root)
    }

    /// Locks of such builders that had not come as far as a disk.
    private func collectDeriveLocks() -> Int {
        var count = 0
        for name in layout.derivingNames() {
            guard let lock = try? AdvisoryLock.attempt(layout.deriveLock(name), exclusive: true) else { continue }
            count += (try? StoreFiles.remove(lock.path)) != nil ? 1 : 0
        }
        return count
    }

    /// Archives and captures whose parts are gone, or which nobody has used for long.
    private func collectOrphans() -> Int {
        var count = 0
        for kind in [StoreLayout.Kind.initramfs, .captures] {
            for digest in StoreFiles.list(layout.parts(kind)) {
                guard let manifest = manifest(kind, digest) else { continue }
                let parts: [(StoreLayout.Kind, String)] = [
                    (.roots, "root"), (.kernels, "kernel"), (.initramfs, "initramfs"),
                ]
                let isOrphan = parts.contains { part, key in
                    manifest.details[key].map { !StoreFiles.exists(layout.part(part, $0)) } ?? false
                }
                if isOrphan || isOlder(manifestPath(kind, digest), than: unusedLimit), remove(kind, digest) {
                    count += 1
                }
            }
        }
        return count
    }

    /// Takes a part out of sight at once, then deletes it: nobody ever sees half of it.
    @discardableResult
    private func remove(_ kind: StoreLayout.Kind, _ digest: String) -> Bool {
        do {
            let staged = try layout.stage()
            defer { staged.remove() }
            try StoreFiles.rename(layout.part(kind, digest), staged.path)
            logger.info("image part removed", metadata: ["kind": "\(kind.rawValue)", "digest": "\(digest)"])
            return true
        } catch {
            logger.warning(
                "image part could not be removed",
                metadata: ["kind": "\(kind.rawValue)", "digest": "\(digest)", "error": "\(error)"])
            return false
        }
    }

    private func records() -> [TemplateRecord] {
        layout.recordedNames().compactMap { try? TemplateRecord.unseal(layout.record($0)) }
    }

    private func manifestPath(_ kind: StoreLayout.Kind, _ digest: String) -> String {
        layout.part(kind, digest) + "/" + PartManifest.fileName
    }

    private func manifest(_ kind: StoreLayout.Kind, _ digest: String) -> PartManifest? {
        try? PartManifest.unseal(manifestPath(kind, digest))
    }

    private func isOlder(_ path: String, than limit: Duration) -> Bool {
        guard let stamp = FileStamp(path: path) else { return false }
        let age = Clocks.realtimeNanoseconds - stamp.modifiedNanoseconds
        return Duration.nanoseconds(age) >= limit
    }
}

extension ImageStore {
    /// Removes what dead processes left half-made, earlier builds of templates, and captures whose parts are gone.
    ///
    /// Safe while other processes use the store.
    /// - Returns: how many things were removed.
    package func collectGarbage() async -> Int {
        let collector = GarbageCollector(layout: layout, logger: logger)
        return (try? await BlockingWork.run { collector.run() }) ?? 0
    }
}
