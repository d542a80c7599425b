import ArgumentParser
import MartletAPI
import SandboxModel
import Testing

@testable import MartletCommands

@Suite struct SnapshotCommandTests {
    private func parse<Verb>(_ type: Verb.Type, _ arguments: String...) throws -> Verb {
        try #require(try MartletCommand.parseAsRoot(arguments) as? Verb)
    }

    @Test func createAndRunTakeASnapshotRecordingAndWhatComesAtTheEnd() throws {
        let create = try parse(
            CreateCommand.self, "create", "--from-snapshot", "gold", "--inherit-env", "--record", "--on-timeout",
            "pause")
        let request = try create.sandboxOptions.request(timeout: nil)
        #expect(request.fromSnapshot == "gold")
        #expect(request.inheritEnv == true)
        #expect(request.record == true)
        #expect(request.onTimeout == .pause)
        let run = try parse(RunCommand.self, "run", "--from-snapshot", "gold", "--record", "--", "true")
        #expect(try run.sandboxOptions.request(timeout: 1).fromSnapshot == "gold")
        let plain = try parse(CreateCommand.self, "create").sandboxOptions.request(timeout: nil)
        #expect(plain.record == nil && plain.onTimeout == nil && plain.inheritEnv == nil)
        #expect(throws: (any Error).self) { try parse(CreateCommand.self, "create", "--on-timeout", "explode") }
    }

    @Test func pauseAndResumeTakeSeveral() throws {
        #expect(try parse(PauseCommand.self, "pause", "a", "b").sandboxes == ["a", "b"])
        let resume = try parse(ResumeCommand.self, "resume", "a", "b", "--from", "disk", "--timeout", "2m")
        #expect(resume.sandboxes == ["a", "b"])
        #expect(resume.request.from == .disk)
        #expect(resume.request.timeoutSeconds == 120)
        for bad in [["pause"], ["resume"], ["resume", "a", "--from", "tape"]] {
            #expect(throws: (any Error).self) { try MartletCommand.parseAsRoot(bad) }
        }
    }

    @Test func snapshotVerbs() throws {
        let create = try parse(SnapshotCreateCommand.self, "snapshot", "create", "box", "--name", "gold", "-m", "a=b")
        #expect(create.sandbox == "box" && create.name == "gold")
        #expect(try create.metadata.labels() == ["a": "b"])
        #expect(try parse(SnapshotListCommand.self, "snapshot", "ls", "-a", "--sandbox", "box").all)
        #expect(
            try parse(SnapshotInspectCommand.self, "snapshot", "inspect", "gold", "-o", "json").output.format == .json)
        #expect(try parse(SnapshotRemoveCommand.self, "snapshot", "rm", "a", "b").snapshots == ["a", "b"])
        #expect(try parse(SnapshotExportCommand.self, "snapshot", "export", "gold", "-O", "-").file == "-")
        #expect(try parse(SnapshotExportCommand.self, "snapshot", "export", "gold").file == nil)
        let taken = try parse(SnapshotImportCommand.self, "snapshot", "import", "f", "--name", "silver")
        #expect(taken.file == "f" && taken.name == "silver")
        #expect(try parse(SnapshotImportCommand.self, "snapshot", "import", "-").file == "-")
        for bad in [["create"], ["inspect"], ["rm"], ["export"], ["import"], ["export", "gold", "-O", ""]] {
            #expect(throws: (any Error).self) { try MartletCommand.parseAsRoot(["snapshot"] + bad) }
        }
    }

    @Test func forkTakesCountCheckpointAndEnvironment() throws {
        let request = try parse(
            ForkCommand.self, "fork", "box", "--count", "16", "--at", "3", "-e", "A=1", "--inherit-env", "-m", "k=v",
            "--timeout", "1h"
        ).request()
        #expect(request.count == 16)
        #expect(request.at == 3)
        #expect(request.env == ["A": "1"])
        #expect(request.inheritEnv == true)
        #expect(request.metadata == ["k": "v"])
        #expect(request.timeoutSeconds == 3600)
        let plain = try parse(ForkCommand.self, "fork", "box").request()
        #expect(plain.count == 1 && plain.at == nil && plain.env == nil && plain.inheritEnv == nil)
        for bad in [["--count", "0"], ["--count", "65"], ["--at=-1"], ["--count", "x"]] {
            #expect(throws: (any Error).self) { try MartletCommand.parseAsRoot(["fork", "box"] + bad) }
        }
    }

    @Test func rewindNeedsACheckpoint() throws {
        let rewind = try parse(RewindCommand.self, "rewind", "box", "--to", "0")
        #expect(rewind.sandbox == "box" && rewind.to == 0)
        #expect(try parse(TreeCommand.self, "tree", "box").sandbox == "box")
        for bad in [["rewind", "box"], ["rewind", "box", "--to=-1"], ["tree"], ["fork"]] {
            #expect(throws: (any Error).self) { try MartletCommand.parseAsRoot(bad) }
        }
    }

    private func node(
        _ id: String, _ kind: TreeResource.Node.Kind, _ parent: String?, name: String? = nil, number: Int? = nil,
        isCurrent: Bool = false
    ) -> TreeResource.Node {
        TreeResource.Node(
            id: id, kind: kind, name: name, number: number, sandbox: nil, parent: parent, state: "ready",
            at: Timestamp(milliseconds: 0), isCurrent: isCurrent)
    }

    @Test func aFamilyIsDrawnWithItsBranches() {
        let tree = TreeResource(nodes: [
            node("s1", .sandbox, nil, name: "web"), node("c0", .checkpoint, "s1", number: 0),
            node("c1", .checkpoint, "c0", number: 1, isCurrent: true), node("s2", .sandbox, "c0"),
            node("g", .snapshot, "s1", name: "gold\u{1B}"),
        ])
        #expect(
            TreeDrawing.text(tree, now: 5000, colour: false) == """
                sandbox s1 web  ready, 5s
                ├─ checkpoint 0  5s
                │  ├─ checkpoint 1  5s *
                │  └─ sandbox s2  ready, 5s
                └─ snapshot g gold\\x1b  ready, 5s

                """)
        #expect(TreeDrawing.text(tree, now: 0, colour: true).contains("\u{1B}[32m *\u{1B}[0m"))
        // A server that tells of a circle, or of parents that are not there, is no reason to hang.
        let odd = TreeResource(nodes: [node("a", .sandbox, "b"), node("b", .sandbox, "a"), node("c", .sandbox, "gone")])
        #expect(TreeDrawing.text(odd, now: 0, colour: false) == "sandbox c  ready, 0s\n")
    }

    @Test func aCheckpointThatIsNotThereHasAHint() {
        let error = MartletError(
            .notFound, "rewind sandbox: s1: there is no checkpoint 9", details: ["checkpoint": "9"])
        #expect(Hint.text(for: error)?.contains("martlet tree") == true)
        #expect(
            Hint.text(for: MartletError(.notFound, "snapshot: 'x' does not exist"))?.contains("snapshot ls") == true)
    }
}
