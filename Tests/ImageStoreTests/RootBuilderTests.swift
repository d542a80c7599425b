import Glibc
import ImageStore
import LinuxSystem
import SandboxModel
import Testing

@Suite struct RootBuilderTests {
    @Test func theCommandLineHoldsNothingAShellWouldRead() {
        var definition = TemplateDefinition(name: "x", packages: ["python3", "git"])
        definition.suite = "bookworm"
        let arguments = RootBuilder.arguments(definition: definition, tree: "/s/tree", sources: "/s/list")
        #expect(arguments.contains("--include=python3,git"))
        #expect(arguments.suffix(3) == ["bookworm", "/s/tree", "/s/list"])
        #expect(arguments.filter { $0.hasPrefix("--customize-hook") }.count == 1)
    }

    @Test func saysWhatTheToolIsDoing() {
        #expect(
            RootBuilder.progress(of: "I: downloading packages with apt...")?.message == "downloading packages with apt")
        #expect(RootBuilder.progress(of: "I: finding correct signed-by value...") == nil)
        #expect(RootBuilder.progress(of: "Get:1 http://x") == nil)
    }

    @Test func writesATreeIntoASparseImageWhoseAddressIsItsContent() async throws {
        try await StoreFixture.with { fixture in
            let tree = fixture.directory + "/tree"
            mkdir(tree, 0o755)
            mkdir(tree + "/etc", 0o755)
            try fixture.write("hello from the tree", to: tree + "/etc/greeting")
            let tool = Tool(
                purpose: "test", logPath: fixture.directory + "/log", lockPath: fixture.directory + "/lock")
            let image = fixture.directory + "/root.img"
            try await RootBuilder.makeImage(of: tree, at: image, mebibytes: 256, tool: tool)
            var info = stat()
            #expect(lstat(image, &info) == 0 && info.st_size == 256 << 20)
            #expect(info.st_blocks * 512 < 64 << 20, "the image is not sparse")
            try await tool.run("e2fsck", ["-f", "-n", image])
            #expect(try await tool.lines("debugfs", ["-R", "cat /etc/greeting", image]).last == "hello from the tree")

            let digest = try Digest.hex(ofSparseFile: image)
            try await tool.run("cp", ["--sparse=never", image, image + ".full"])
            #expect(try Digest.hex(ofSparseFile: image + ".full") == digest)
            let file = try Descriptor.open(image, O_WRONLY)
            lseek(file.number, 200 << 20, SEEK_SET)
            try file.writeAll([1])
            #expect(try Digest.hex(ofSparseFile: image) != digest)
        }
    }

    @Test func aFailingToolIsQuotedAndAMissingOneNamed() async throws {
        try await StoreFixture.with { fixture in
            let tool = Tool(
                purpose: "build template x", logPath: fixture.directory + "/log", lockPath: fixture.directory + "/lock")
            let failed = await #expect(throws: MartletError.self) {
                try await tool.run("mke2fs", ["-q", fixture.directory + "/none/x.img", "1M"])
            }
            #expect(failed?.code == .internal)
            #expect(failed?.message.contains("mke2fs") == true && failed?.message.contains("full log in") == true)
            let missing = await #expect(throws: MartletError.self) { try await tool.run("no-such-tool", []) }
            #expect(missing?.code == .failedPrecondition)
            #expect(missing?.message.contains("scripts/install-dependencies") == true)
        }
    }

    @Test func aToolThatOutlivesItsBuilderKeepsItsDirectory() async throws {
        try await StoreFixture.with { fixture in
            var staged: StagingDirectory? = try StagingDirectory(in: fixture.directory)
            let lockPath = try #require(staged).lockPath
            let tool = Tool(purpose: "test", logPath: fixture.directory + "/log", lockPath: lockPath)
            let (started, go) = AsyncStream<Void>.makeStream()
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    defer { go.finish() }
                    try await tool.run("sh", ["-c", "echo up; sleep 600"]) { _ in go.yield() }
                }
                for await _ in started { break }
                staged = nil
                let isCollected = try StagingDirectory.collect(lockPath: lockPath)
                #expect(!isCollected)
                group.cancelAll()
                let outcome = await group.nextResult()
                #expect(throws: (any Error).self) { try outcome?.get() }
            }
            // Cancelling has ended the tool and its child, and with them their claim.
            #expect(try StagingDirectory.collect(lockPath: lockPath))
            #expect(access(lockPath, F_OK) != 0)
        }
    }
}
