import Glibc
import ImageStore
import LinuxSystem
import Logging
import SandboxModel
import Testing

/// Real builds with the real tools, from the machine's own Debian mirror.
@Suite(.serialized) struct TemplateBuildTests {
    @Test(
        .enabled(if: SharedImages.hasAgent, "libexec/martlet-guest is missing: run scripts/build-guest"),
        .enabled(if: SharedImages.canBuild, "needs root and mmdebstrap"), .timeLimit(.minutes(10)))
    func buildsTheBaseTemplateAndKeepsItWhole() async throws {
        let store = try SharedImages.open()
        let image = try await store.build(named: "base", force: false) { step in
            print("template base: \(step.index)/\(step.count) \(step.stage): \(step.message)")
        }
        #expect(image.kernelVersion.hasSuffix("cloud-amd64"))
        let again = try await store.template(named: "base")
        #expect(again.id == image.id && again.rootDisk == image.rootDisk)
        var info = stat()
        #expect(lstat(image.rootDisk, &info) == 0 && info.st_mode & 0o777 == 0o444)
        #expect(info.st_size == Int(image.definition.diskMiB) << 20)
        let status = try #require(await store.status().first { $0.name == "base" })
        #expect(status.state == .ready && status.id == image.id)
        #expect(status.sizeBytes > 100 << 20 && status.sizeBytes < 1 << 30)
    }

    @Test(.enabled(if: SharedImages.canBuild, "needs root and mmdebstrap"), .timeLimit(.minutes(5)))
    func aBuildThatIsStoppedLeavesNothingHalfBuilt() async throws {
        try await StoreFixture.with { fixture in
            try fixture.define("tiny", "packages: []\n")
            let store = try fixture.open()
            let (steps, step) = AsyncStream<BuildProgress>.makeStream()
            await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    defer { step.finish() }
                    _ = try await store.build(named: "tiny", force: false) { step.yield($0) }
                }
                // In the midst of the root file system: packages are being unpacked into the staging directory.
                for await progress in steps where progress.message.hasPrefix("extracting") { break }
                #expect(await store.status().map(\.state) == [.building])
                group.cancelAll()
                let outcome = await group.nextResult()
                #expect(throws: (any Error).self) { try outcome?.get() }
            }
            #expect(fixture.names(in: "roots").isEmpty)
            #expect(fixture.names(in: "staging").isEmpty)
            #expect(await store.status().map(\.state) == [.absent])
            await #expect(throws: MartletError.self) { try await store.template(named: "tiny") }
        }
    }

    @Test func withoutItsAgentNothingIsBuilt() async throws {
        try await StoreFixture.with { fixture in
            try fixture.define("tiny", "packages: []\n")
            unlink(fixture.agent)
            let store = try fixture.open()
            let error = await #expect(throws: MartletError.self) {
                try await store.build(named: "tiny", force: false) { _ in }
            }
            #expect(error?.code == .failedPrecondition)
            #expect(geteuid() != 0 || error?.message.contains("scripts/build-guest") == true)
        }
    }
}
