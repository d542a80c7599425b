import Glibc
import ImageStore
import LinuxSystem
import SandboxModel
import Testing

@Suite struct CaptureTests {
    private func key(_ machine: String = "m") -> CaptureKey {
        CaptureKey(
            templateID: "t", cpus: 1, memoryMiB: 256, engine: "qemu-tcg", engineVersion: "10.0",
            machineArgumentsDigest: machine)
    }

    private func fill(_ staged: StagedCapture, _ fixture: StoreFixture, mark: String = "x") throws {
        for name in StagedCapture.files + ["disk.qcow2"] {
            try fixture.write("\(mark) \(name)", to: staged.directory + "/" + name)
        }
    }

    @Test func aCommittedCaptureIsFoundReadOnlyByAnotherProcess() async throws {
        try await StoreFixture.with { fixture in
            let store = try fixture.open()
            #expect(try await store.capture(for: key()) == nil)
            let staged = try await store.stageCapture()
            try fill(staged, fixture)
            _ = try await store.commit(staged, key: key(), details: ["note": "hello"])
            let other = try fixture.open()
            let capture = try #require(try await other.capture(for: key()))
            #expect(try fixture.text(capture.memory) == "x memory")
            #expect(capture.manifest.details["note"] == "hello")
            var info = stat()
            #expect(lstat(capture.memory, &info) == 0 && info.st_mode & 0o777 == 0o444)
            #expect(try await other.capture(for: key("another machine")) == nil)
            #expect(fixture.names(in: "staging").isEmpty)
        }
    }

    @Test func aCaptureWithAMissingFileIsNotCommitted() async throws {
        try await StoreFixture.with { fixture in
            let store = try fixture.open()
            let staged = try await store.stageCapture()
            try fill(staged, fixture)
            unlink(staged.directory + "/device-state")
            let error = await #expect(throws: MartletError.self) {
                try await store.commit(staged, key: key(), details: [:])
            }
            #expect(error?.message.contains("device-state") == true)
            #expect(try await store.capture(for: key()) == nil)
            await store.discard(staged)
            #expect(fixture.names(in: "staging").isEmpty)
        }
    }

    enum Damage: String, CaseIterable { case truncated, missing, changedState, noManifest, editedManifest }

    @Test(arguments: Damage.allCases)
    func aDamagedCaptureIsMovedAsideAndCountsAsAbsent(damage: Damage) async throws {
        try await StoreFixture.with { fixture in
            let store = try fixture.open()
            let staged = try await store.stageCapture()
            try fill(staged, fixture)
            let capture = try await store.commit(staged, key: key(), details: ["note": "abc"])
            let manifest = capture.directory + "/manifest.json"
            switch damage {
            case .truncated: truncate(capture.memory, 2)
            case .missing: unlink(capture.disk)
            case .changedState: try fixture.write("X device-state", to: capture.deviceState)
            case .noManifest: unlink(manifest)
            case .editedManifest:
                let bytes = try fixture.text(manifest).split(separator: "abc").joined(separator: "xyz")
                try fixture.write(bytes, to: manifest)
            }
            #expect(try await store.capture(for: key()) == nil)
            #expect(fixture.names(in: "captures").isEmpty)
            #expect(fixture.names(in: "corrupt").count == 1)
            let again = try await store.stageCapture()
            try fill(again, fixture)
            _ = try await store.commit(again, key: key(), details: [:])
            #expect(try await store.capture(for: key()) != nil)
        }
    }

    @Test func theFirstOfTwoCommitsWins() async throws {
        try await StoreFixture.with { fixture in
            let (one, two) = (try fixture.open(), try fixture.open())
            let (first, second) = (try await one.stageCapture(), try await two.stageCapture())
            try fill(first, fixture, mark: "first")
            try fill(second, fixture, mark: "other")
            _ = try await one.commit(first, key: key(), details: [:])
            let capture = try await two.commit(second, key: key(), details: [:])
            #expect(try fixture.text(capture.memory) == "first memory")
            #expect(fixture.names(in: "staging").isEmpty)
        }
    }

    @Test func garbageIsWhatTheDeadLeftAndNeverWhatTheLivingUse() async throws {
        try await StoreFixture.with { fixture in
            let store = try fixture.open()
            let live = try await store.stageCapture()
            try fill(live, fixture)
            do {
                // Its holder is gone at the end of this scope, as after a crash: only the files stay.
                let dead = try await store.stageCapture()
                try fill(dead, fixture)
            }
            #expect(fixture.names(in: "staging").count == 4)
            #expect(try await fixture.open().collectGarbage() == 1)
            #expect(fixture.names(in: "staging").count == 2)
            _ = try await store.commit(live, key: key(), details: [:])
            #expect(try await store.capture(for: key()) != nil)
        }
    }
}
