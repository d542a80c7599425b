import Glibc
import LinuxSystem
import SandboxModel
import Testing

@testable import ImageStore

/// Templates that are built out of others: known only when they are whole, and gone with all they had.
@Suite(
    .enabled(if: SharedImages.hasAgent, "libexec/martlet-guest is missing: run scripts/build-guest"),
    .enabled(if: SharedImages.canBuild, "needs root and mmdebstrap"), .timeLimit(.minutes(10)))
struct DeriveTests {
    private static let name = "0b6f3a51-6f0e-4c7e-9d43-3c2a8f1f7a10"

    private func template(_ name: String = name) -> DerivedTemplate {
        var definition = TemplateDefinition(name: name, description: "derived")
        definition.env = ["A": "1"]
        definition.diskMiB = 1
        return DerivedTemplate(
            name: name,
            derivation: TemplateDerivation(
                owner: "k1", template: "t1", name: "app", tags: ["default": Timestamp(milliseconds: 5)], recipe: "r",
                parent: "base"), definition: definition)
    }

    private func stage(_ store: ImageStore) async throws -> StagedDisk {
        let disk = try await store.stageDisk()
        try AtomicFile.write([UInt8](repeating: 7, count: 1 << 20), to: disk.path, durable: false)
        return disk
    }

    @Test func oneIsSeenWhenItIsRevealedAndHasADiskOfItsOwn() async throws {
        try await StoreFixture.with { fixture in
            try await fixture.adoptBase()
            let store = try fixture.open()
            let unseen = try await store.derive(template(), from: "base", disk: try await stage(store))
            #expect(await store.status().map(\.name) == ["base"])
            #expect(fixture.names(in: "staging").isEmpty)
            try await store.reveal(unseen)
            // Another process sees the same.
            let other = try fixture.open()
            let found = try #require(await other.status().first { $0.name == Self.name })
            #expect(found.state == .ready && found.derivation == template().derivation)
            let image = try await other.template(named: Self.name)
            #expect(image.id == unseen.image.id && image.definition.env == ["A": "1"])
            #expect(try AtomicFile.read(image.rootDisk, limit: 2 << 20).count == 1 << 20)
            #expect(try await image.kernel == other.template(named: "base").kernel)
            #expect(fixture.names(in: "templates").filter { $0.contains(Self.name) } == ["\(Self.name).json"])
            #expect(await other.collectGarbage() == 0)

            try await other.remove(templateNamed: Self.name)
            #expect(await other.status().map(\.name) == ["base"])
            #expect(fixture.names(in: "roots").count == 1)
            #expect(fixture.names(in: "templates").allSatisfy { !$0.contains(Self.name) })
        }
    }

    @Test func oneThatIsGivenUpLeavesNothing() async throws {
        try await StoreFixture.with { fixture in
            try await fixture.adoptBase()
            let store = try fixture.open()
            let before = fixture.names(in: "templates")
            await store.abandon(try await store.derive(template(), from: "base", disk: try await stage(store)))
            #expect(fixture.names(in: "templates") == before)
            #expect(fixture.names(in: "roots").count == 1)
            await store.discard(try await stage(store))
            #expect(fixture.names(in: "staging").isEmpty)
        }
    }

    @Test func oneThatWasCutOffIsCollectedButNotUnderItsBuilder() async throws {
        try await StoreFixture.with { fixture in
            try await fixture.adoptBase()
            let store = try fixture.open()
            do {
                let unseen = try await store.derive(template(), from: "base", disk: try await stage(store))
                #expect(await store.collectGarbage() == 0)
                #expect(fixture.names(in: "roots").count == 2)
                withExtendedLifetime(unseen) {}
            }
            // The lock goes with whoever held it, as it does with a process that is killed.
            #expect(await store.collectGarbage() > 0)
            #expect(fixture.names(in: "roots").count == 1)
            #expect(fixture.names(in: "templates").allSatisfy { !$0.contains(Self.name) })
        }
    }

    @Test func copiesShareADiskUntilTheLastOneIsGone() async throws {
        let copy = "1b6f3a51-6f0e-4c7e-9d43-3c2a8f1f7a10"
        try await StoreFixture.with { fixture in
            try await fixture.adoptBase()
            let store = try fixture.open()
            try await store.reveal(try await store.derive(template(), from: "base", disk: try await stage(store)))
            try await store.reveal(try await store.derive(template(copy), copying: Self.name))
            #expect(try await store.template(named: copy).rootDisk == store.template(named: Self.name).rootDisk)
            try await store.remove(templateNamed: Self.name)
            #expect(fixture.names(in: "roots").count == 2)
            #expect(try await store.template(named: copy).name == copy)
            try await store.remove(templateNamed: copy)
            #expect(fixture.names(in: "roots").count == 1)
            // One that has its parent's disk as it is leaves that alone.
            try await store.reveal(try await store.derive(template(), copying: "base"))
            try await store.remove(templateNamed: Self.name)
            #expect(try await store.template(named: "base").name == "base")
        }
    }

    @Test func tagsAreReplacedAndNamesAreTakenOnce() async throws {
        try await StoreFixture.with { fixture in
            try await fixture.adoptBase()
            let store = try fixture.open()
            try await store.reveal(try await store.derive(template(), copying: "base"))
            var derivation = template().derivation
            derivation.tags = ["v2": Timestamp(milliseconds: 9)]
            try await store.setDerivation(derivation, of: Self.name)
            #expect(await store.status().first { $0.name == Self.name }?.derivation?.tags == derivation.tags)
            let taken = await #expect(throws: MartletError.self) { try await store.derive(template(), copying: "base") }
            #expect(taken?.code == .conflict)
            for name in ["base", "nope"] {
                let none = await #expect(throws: MartletError.self) {
                    try await store.setDerivation(derivation, of: name)
                }
                #expect(none?.code == .notFound)
            }
            let built = await #expect(throws: MartletError.self) {
                try await store.build(named: Self.name, force: false) { _ in }
            }
            #expect(built?.code == .failedPrecondition)
        }
    }
}
