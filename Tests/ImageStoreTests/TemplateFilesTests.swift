import Glibc
import ImageStore
import LinuxSystem
import SandboxModel
import Testing

@Suite struct TemplateFilesTests {
    private static let yaml = """
        files:
          - {path: /opt/secret, owner: user, group: staff, mode: "0640"}
        """

    /// A template with a file, a program, a link and a directory.
    private func fill(_ fixture: StoreFixture) throws {
        try fixture.define("web", TemplateFilesTests.yaml)
        let files = fixture.templates + "/web/files"
        for folder in ["", "/opt", "/opt/empty"] { mkdir(files + folder, 0o700) }
        try fixture.write("s3cret", to: files + "/opt/secret")
        try fixture.write("#!/bin/sh\n", to: files + "/opt/program")
        chmod(files + "/opt/program", 0o700)
        symlink("../program", files + "/opt/link")
    }

    private func tree(_ fixture: StoreFixture) throws -> RootTree {
        let tree = fixture.directory + "/tree"
        for folder in ["", "/etc", "/usr", "/usr/bin"] { mkdir(tree + folder, 0o755) }
        symlink("usr/bin", tree + "/bin")
        symlink("/etc", tree + "/out")
        try fixture.write("root:x:0:0::/root:/bin/sh\nuser:x:1000:1001::/home/user:/bin/sh\n", to: tree + "/etc/passwd")
        try fixture.write("root:x:0:\nstaff:x:50:\n", to: tree + "/etc/group")
        return RootTree(path: tree)
    }

    private func facts(_ path: String) -> (mode: UInt32, uid: UInt32, gid: UInt32) {
        var info = stat()
        guard lstat(path, &info) == 0 else { return (0, .max, .max) }
        return (UInt32(info.st_mode & 0o7777), info.st_uid, info.st_gid)
    }

    @Test(.enabled(if: geteuid() == 0, "needs root, to give files away"))
    func filesComeIntoTheTreeWithTheirOwnersAndModes() async throws {
        try await StoreFixture.with { fixture in
            try fill(fixture)
            let tree = try tree(fixture)
            let definition = try await fixture.open().definition(named: "web")
            try fixture.write("old", to: tree.path + "/usr/bin/program")
            let files = try #require(definition.files)
            for _ in 0..<2 { try tree.add(files, definition.fileRules) }
            let opt = tree.path + "/opt"
            #expect(try fixture.text(opt + "/secret") == "s3cret")
            #expect(facts(opt + "/secret") == (0o640, 1000, 50))
            #expect(facts(opt + "/program") == (0o755, 0, 0))
            #expect(facts(opt + "/empty") == (0o755, 0, 0))
            var target = [CChar](repeating: 0, count: 64)
            #expect(readlink(opt + "/link", &target, 63) == 10)
        }
    }

    @Test(.enabled(if: geteuid() == 0, "needs root, to give files away"))
    func nothingIsWrittenThroughALinkOfTheTree() async throws {
        for (path, message) in [
            ("/out/evil", "/out is no directory in the root disk"),
            ("/bin/sh", "/bin is no directory in the root disk"),
            ("/usr/bin", "it is a directory in the root disk"),
        ] {
            try await StoreFixture.with { fixture in
                try fixture.define("web", "")
                let folder = fixture.templates + "/web/files"
                mkdir(folder, 0o700)
                if path.split(separator: "/").count == 2 { mkdir("\(folder)/\(path.split(separator: "/")[0])", 0o700) }
                try fixture.write("x", to: folder + path)
                let tree = try tree(fixture)
                let definition = try await fixture.open().definition(named: "web")
                let files = try #require(definition.files)
                let error = #expect(throws: MartletError.self) { try tree.add(files, []) }
                #expect(
                    error?.message
                        == "copy template file: \(path.hasPrefix("/out") ? "/out" : path.hasPrefix("/bin") ? "/bin" : path): \(message)"
                )
                #expect(access("/etc/evil", F_OK) != 0)
            }
        }
    }

    @Test(.enabled(if: geteuid() == 0, "needs root, to give files away"))
    func anOwnerTheRootDiskDoesNotKnowIsAnError() async throws {
        try await StoreFixture.with { fixture in
            try fill(fixture)
            let tree = try tree(fixture)
            let definition = try await fixture.open().definition(named: "web")
            let rule = TemplateFileRule(path: "/opt/secret", owner: "nobody-here")
            let files = try #require(definition.files)
            let error = #expect(throws: MartletError.self) { try tree.add(files, [rule]) }
            #expect(error?.message.hasSuffix("there is no user 'nobody-here'") == true)
        }
    }

    @Test func whateverChangesInTheFolderMakesAnotherAddress() async throws {
        try await StoreFixture.with { fixture in
            try fill(fixture)
            let store = try fixture.open()
            let files = fixture.templates + "/web/files"
            var digests: Set<String> = []
            func look() async throws {
                digests.insert(try #require(await store.definition(named: "web").files?.digest))
            }
            try await look()
            try await look()
            #expect(digests.count == 1)
            try fixture.write("other", to: files + "/opt/secret")
            try await look()
            chmod(files + "/opt/secret", 0o700)
            try await look()
            unlink(files + "/opt/link")
            symlink("program", files + "/opt/link")
            try await look()
            mkdir(files + "/opt/more", 0o700)
            try await look()
            #expect(digests.count == 5)
        }
    }

    @Test func whatCannotBeCopiedIsNamed() async throws {
        try await StoreFixture.with { fixture in
            try fixture.define("web", TemplateFilesTests.yaml)
            let store = try fixture.open()
            var error = await #expect(throws: MartletError.self) { try await store.definition(named: "web") }
            #expect(error?.message.contains("files: /opt/secret is not in ") == true)
            mkdir(fixture.templates + "/web/files", 0o700)
            mkfifo(fixture.templates + "/web/files/pipe", 0o600)
            error = await #expect(throws: MartletError.self) { try await store.definition(named: "web") }
            #expect(error?.code == .failedPrecondition)
            #expect(error?.message.hasSuffix("/pipe: is neither a file, a directory nor a symbolic link") == true)
        }
    }

    @Test func aliasesLeadToTheOneTemplateThatHasThem() async throws {
        try await StoreFixture.with { fixture in
            try fixture.define("web-v1", "aliases: [web, site]\n")
            let store = try fixture.open()
            #expect(try await store.definition(named: "site").name == "web-v1")
            #expect(try await store.canonicalName("other") == "other")
            try fixture.define("web-v2", "aliases: [web]\n")
            let error = await #expect(throws: MartletError.self) { try await store.definition(named: "web") }
            #expect(error?.message.contains("claimed by web-v1 and web-v2") == true)
            // A template of that name goes before any alias.
            try fixture.define("web", "")
            #expect(try await store.definition(named: "web").name == "web")
            await #expect(throws: MartletError.self) { try await store.definition(named: "nothing") }
        }
    }
}
