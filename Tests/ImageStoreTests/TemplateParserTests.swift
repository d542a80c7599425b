import ImageStore
import SandboxModel
import Testing

@Suite struct TemplateParserTests {
    @Test func readsEveryKey() async throws {
        try await StoreFixture.with { fixture in
            try fixture.define(
                "web",
                """
                name: web
                description: a web server
                suite: bookworm
                packages: [nginx, "libfoo2.0+dfsg-1"]
                kernel: linux-image-amd64
                disk_mb: 2048
                cpus: 2
                memory_mb: 512
                env: {LANG: C.UTF-8, PORT: "8080"}
                user: user
                warmup:
                  - [python3, -c, "print('a b')"]
                """)
            let definition = try await fixture.open().definition(named: "web")
            #expect(definition.description == "a web server")
            #expect(definition.packages == ["nginx", "libfoo2.0+dfsg-1"])
            #expect(definition.kernel == "linux-image-amd64")
            #expect((definition.diskMiB, definition.cpus, definition.memoryMiB) == (2048, 2, 512))
            #expect(definition.env == ["LANG": "C.UTF-8", "PORT": "8080"])
            #expect(definition.user == "user")
            #expect(definition.warmup == [["python3", "-c", "print('a b')"]])
        }
    }

    @Test func anEmptyFileHasTheDefaults() async throws {
        try await StoreFixture.with { fixture in
            try fixture.define("plain", "# nothing\n")
            let definition = try await fixture.open().definition(named: "plain")
            #expect(definition == TemplateDefinition(name: "plain"))
            #expect(definition.diskMiB == 4096)
        }
    }

    @Test(arguments: [
        ("colour: red", "colour: unknown key"),
        ("name: other", "name: must be the folder's name"),
        ("packages: nginx", "packages: must be a list"),
        ("packages: [--help]", "packages: '--help' must be a Debian package name"),
        ("packages: [\"a b; reboot\"]", "must be a Debian package name"),
        ("packages: [nginx=1.0]", "must be a Debian package name"),
        ("kernel: ../../vmlinuz", "kernel: '../../vmlinuz' must be"),
        ("suite: \"book worm\"", "suite: 'book worm' must be"),
        ("disk_mb: 99999999999", "disk_mb: 99999999999 is outside"),
        ("disk_mb: 1e3", "disk_mb: '1e3' is not a whole number"),
        ("memory_mb: 1", "memory_mb: 1 is outside 128...65536"),
        ("memory_mb: 257", "memory_mb: must be even"),
        ("cpus: 0", "cpus: 0 is outside 1...16"),
        ("cpus: [1]", "cpus: must be a text"),
        ("env: {1A: x}", "env: '1A' names must be"),
        ("env: [A]", "env: must be a mapping"),
        ("user: \"a:b\"", "user: 'a:b' must be"),
        ("warmup: [[]]", "warmup: each entry must"),
        ("warmup: [true]", "warmup: must be a list"),
        ("warmup: [[\"a\\0b\"]]", "warmup: must be at most 4096 bytes without NUL"),
        ("{cpus: 1, cpus: 2}", "cpus"),
        ("- a list", "must be a mapping"),
        ("a: [unclosed", "template.yaml"),
    ])
    func refusesWhatItDoesNotUnderstand(yaml: String, message: String) async throws {
        try await StoreFixture.with { fixture in
            try fixture.define("bad", yaml)
            let store = try fixture.open()
            let error = await #expect(throws: MartletError.self) { try await store.definition(named: "bad") }
            #expect(error?.code == .failedPrecondition)
            #expect(error?.message.contains(message) == true, "\(error?.message ?? "")")
            #expect(error?.message.contains("bad/template.yaml") == true)
        }
    }

    @Test(arguments: ["", "../base", "a/b", ".", "Base", "-a", "a\0b", String(repeating: "a", count: 64)])
    func refusesNamesThatAreNone(name: String) async throws {
        try await StoreFixture.with { fixture in
            let store = try fixture.open()
            let error = await #expect(throws: MartletError.self) { try await store.template(named: name) }
            #expect(error?.code == .invalidArgument)
            let removal = await #expect(throws: MartletError.self) { try await store.remove(templateNamed: name) }
            #expect(removal?.code == .invalidArgument)
        }
    }

    @Test func anUnknownTemplateIsNotFoundAndAnUnbuiltOneSaysHowToBuildIt() async throws {
        try await StoreFixture.with { fixture in
            try fixture.define("base", "")
            let store = try fixture.open()
            let unknown = await #expect(throws: MartletError.self) { try await store.template(named: "nope") }
            #expect(unknown?.code == .notFound)
            #expect(unknown?.message.contains("there are: base") == true)
            let unbuilt = await #expect(throws: MartletError.self) { try await store.template(named: "base") }
            #expect(unbuilt?.code == .failedPrecondition)
            #expect(unbuilt?.message == "template base is not built: run martlet template build base")
            #expect(await store.status().map(\.state) == [.absent])
        }
    }
}
