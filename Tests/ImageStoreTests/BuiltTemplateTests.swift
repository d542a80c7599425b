import Glibc
import ImageStore
import LinuxSystem
import SandboxModel
import Testing

/// What happens to a template after it was built; each test has a store of its own with links to the real parts.
@Suite(
    .enabled(if: SharedImages.hasAgent, "libexec/martlet-guest is missing: run scripts/build-guest"),
    .enabled(if: SharedImages.canBuild, "needs root and mmdebstrap"), .timeLimit(.minutes(10)))
struct BuiltTemplateTests {
    enum Damage: String, CaseIterable { case shortRoot, noKernel, noManifest, tornRecord }

    @Test(arguments: Damage.allCases)
    func aCorruptTemplateIsNeverUsedAndSaysWhatToDo(damage: Damage) async throws {
        try await StoreFixture.with { fixture in
            try await fixture.adoptBase()
            let store = try fixture.open()
            let image = try await store.template(named: "base")
            let part: String
            switch damage {
            case .shortRoot:
                part = image.rootDisk
                unlink(part)
                try fixture.write("no", to: part)
            case .noKernel:
                part = image.kernel
                unlink(part)
            case .noManifest:
                part = image.rootDisk.split(separator: "/").dropLast().map { "/" + $0 }.joined() + "/manifest.json"
                unlink(part)
            case .tornRecord:
                part = fixture.store + "/templates/base.json"
                truncate(part, 100)
            }
            // A store that has just answered looks at the large files only: those it hands out.
            for store in damage == .noManifest ? [try fixture.open()] : [store, try fixture.open()] {
                let error = await #expect(throws: MartletError.self) { try await store.template(named: "base") }
                #expect(error?.code == .failedPrecondition)
                #expect(error?.message.hasPrefix("template base is corrupt: ") == true)
                #expect(error?.message.hasSuffix("rebuild with martlet template build base --force") == true)
            }
            let status = try #require(try await fixture.open().status().first)
            #expect(status.state == .corrupt)
            if damage == .shortRoot {
                #expect(status.problem?.contains("root.img: it has 2 bytes instead of 4294967296") == true)
            }
        }
    }

    @Test func aNewAgentGivesANewTemplateOnTheSameRootDisk() async throws {
        try await StoreFixture.with { fixture in
            try await fixture.adoptBase()
            let store = try fixture.open()
            let before = try await store.template(named: "base")
            #expect(try await store.template(named: "base").id == before.id)
            try fixture.write("another agent", to: fixture.agent)
            let after = try await store.template(named: "base")
            #expect(after.id != before.id && after.initramfs != before.initramfs)
            #expect(after.rootDisk == before.rootDisk && after.kernel == before.kernel)
            #expect(try AtomicFile.read(after.initramfs).prefix(6) == Array("070701".utf8)[...])
        }
    }

    @Test func aChangedDefinitionMakesItStaleOrOnlyAnother() async throws {
        try await StoreFixture.with { fixture in
            try await fixture.adoptBase()
            let store = try fixture.open()
            let yaml = try fixture.text(fixture.templates + "/base/template.yaml")
            let before = try await store.template(named: "base")
            try fixture.define("base", yaml.split(separator: "warmup:")[0] + "warmup: [[git, --version]]\n")
            let warmed = try await store.template(named: "base")
            #expect(warmed.id != before.id && warmed.rootDisk == before.rootDisk)
            #expect(await store.status().first?.state == .ready)
            try fixture.define("base", yaml.split(separator: "disk_mb: 4096").joined(separator: "disk_mb: 8192"))
            #expect(await store.status().first?.state == .stale)
            #expect(try await store.template(named: "base").rootDisk == before.rootDisk)
        }
    }

    @Test func aSecondBuildWaitsForTheFirstAndUsesWhatIsThere() async throws {
        try await StoreFixture.with { fixture in
            try await fixture.adoptBase()
            unlink(fixture.store + "/templates/base.json")
            let store = try fixture.open()
            let lock = try #require(try FileLock.attempt(fixture.store + "/templates/base.lock"))
            let (steps, step) = AsyncStream<BuildProgress>.makeStream()
            async let built = store.build(named: "base", force: false) { step.yield($0) }
            for await progress in steps {
                #expect(progress.message.contains("another build of template base is running"))
                break
            }
            #expect(try await fixture.open().status().first?.state == .building)
            await #expect(throws: MartletError.self) { try await store.remove(templateNamed: "base") }
            lock.release()
            // Its parts are finished, as after a build that was killed: nothing is downloaded again.
            let image = try await built
            #expect(image.rootDisk.hasPrefix(fixture.store))
            #expect(fixture.names(in: "roots").count == 1 && fixture.names(in: "kernels").count == 1)
        }
    }

    @Test func removingATemplateRemovesItsPartsAndCaptures() async throws {
        try await StoreFixture.with { fixture in
            try await fixture.adoptBase()
            let store = try fixture.open()
            let image = try await store.template(named: "base")
            let key = CaptureKey(
                templateID: image.id, cpus: 1, memoryMiB: 256, engine: "e", engineVersion: "1",
                machineArgumentsDigest: "m")
            let staged = try await store.stageCapture()
            for name in StagedCapture.files + ["disk.qcow2"] {
                try fixture.write(name, to: staged.directory + "/" + name)
            }
            _ = try await store.commit(staged, key: key, details: [:])
            #expect(await store.status().first?.captures == 1)
            #expect(await store.collectGarbage() == 0)
            try await store.remove(templateNamed: "base")
            for folder in ["roots", "kernels", "initramfs", "captures", "staging"] {
                #expect(fixture.names(in: folder).isEmpty, "\(folder)")
            }
            #expect(await store.status().first?.state == .absent)
            #expect(try await store.capture(for: key) == nil)
            try await store.remove(templateNamed: "base")
        }
    }

    @Test func partsOfAnEarlierBuildAreCollectedOnceNobodyCanBeLookingAtThem() async throws {
        try await StoreFixture.with { fixture in
            try await fixture.adoptBase()
            let store = try fixture.open()
            let image = try await store.template(named: "base")
            let root = image.rootDisk.split(separator: "/").dropLast().map { "/" + $0 }.joined()
            for name in ["earlier", "recent"] {
                mkdir("\(fixture.store)/roots/\(name)", 0o700)
                for file in StoreFiles.list(root) {
                    try fixture.write(
                        file == "root.img" ? "x" : fixture.text("\(root)/\(file)"),
                        to: "\(fixture.store)/roots/\(name)/\(file)")
                }
            }
            let longAgo = [timespec(tv_sec: 1_000_000_000, tv_nsec: 0), timespec(tv_sec: 1_000_000_000, tv_nsec: 0)]
            utimensat(AT_FDCWD, fixture.store + "/roots/earlier/manifest.json", longAgo, 0)
            #expect(await store.collectGarbage() == 1)
            #expect(fixture.names(in: "roots").count == 2)
            #expect(!fixture.names(in: "roots").contains("earlier"))
            #expect(try await store.template(named: "base").id == image.id)
        }
    }
}
