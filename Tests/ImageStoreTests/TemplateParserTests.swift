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
                rehearsal: [["true"]]
                aliases: [site]
                exclude: [/usr/share/big/*]
                services:
                  - name: web
                    command: [nginx, -g, daemon off;]
                    user: user
                    cwd: /srv
                    env: {B: "2", A: "1"}
                    ready: {port: 80, within_seconds: 30}
                  - {name: two, command: [two], ready: {file: /run/two}}
                  - {name: three, command: [three], ready: {command: [test, -e, /x]}}
                """)
            let definition = try await fixture.open().definition(named: "web")
            #expect(definition.description == "a web server")
            #expect(definition.packages == ["nginx", "libfoo2.0+dfsg-1"])
            #expect(definition.kernel == "linux-image-amd64")
            #expect((definition.diskMiB, definition.cpus, definition.memoryMiB) == (2048, 2, 512))
            #expect(definition.env == ["LANG": "C.UTF-8", "PORT": "8080"])
            #expect(definition.user == "user")
            #expect(definition.warmup == [["python3", "-c", "print('a b')"]])
            #expect(definition.rehearsal == [["true"]])
            #expect((definition.aliases, definition.exclude) == (["site"], ["/usr/share/big/*"]))
            #expect(
                definition.services == [
                    TemplateService(
                        name: "web", command: ["nginx", "-g", "daemon off;"], user: "user", workingDirectory: "/srv",
                        environment: ["A=1", "B=2"], readiness: .port(80), readySeconds: 30),
                    TemplateService(name: "two", command: ["two"], readiness: .file("/run/two")),
                    TemplateService(name: "three", command: ["three"], readiness: .command(["test", "-e", "/x"])),
                ])
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
        ("aliases: [bad]", "aliases: 'bad' must be 1-63 characters"),
        ("exclude: [etc]", "exclude: 'etc' must be an absolute path"),
        ("services: [{name: a}]", "services: each entry must have a name and a command"),
        ("services: [{name: A, command: [a]}]", "services.name: 'A' must be"),
        ("services: [{name: a, command: [a], port: 1}]", "services.port: unknown key"),
        ("services: [{name: a, command: [a], ready: {}}]", "services.a.ready: must have one of"),
        ("services: [{name: a, command: [a], ready: {port: 0}}]", "services.a.ready.port: 0 is outside"),
        ("services: [{name: a, command: [a]}, {name: a, command: [b]}]", "services: 'a' is there twice"),
        ("files: [{path: etc}]", "files.path: 'etc' must be an absolute path"),
        ("files: [{path: /a/../b}]", "files.path: '/a/../b' must be an absolute path"),
        ("files: [{path: /a, mode: \"0999\"}]", "files.mode: '0999' must be octal"),
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
