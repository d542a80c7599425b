import LinuxSystem
import MartletAPI
import Node
import SandboxModel
import Testing

@testable import ControlPlane

/// Templates that clients build: their steps run in a guest, which here is this computer.
@Suite("Templates built out of others")
struct TemplateBuildTests {
    private static let base = TemplateReference(name: "base")

    private func with(
        node: TestNode = TestNode(), _ body: (PlaneFixture, TemplateBuilds) async throws -> Void
    ) async throws {
        let files = try Scratch()
        try await PlaneFixture.with(node: node) { configuration in
            configuration.buildFilesDirectory = files.path + "/uploads"
            configuration.maxTemplatesPerKey = 20
        } _: { fixture in
            try await body(fixture, fixture.plane.templates.builds)
        }
    }

    /// Builds to the end.
    private func build(
        _ fixture: PlaneFixture, name: String = "app", tags: [String] = [], _ steps: [BuildStep] = [],
        start: String? = nil, ready: String? = nil, isForced: Bool = false, parent: TemplateReference = base,
        network: NetworkPolicy = .closed, caller: Caller = .local
    ) async throws -> (id: String, template: String, lines: [TemplateBuild]) {
        let templates = fixture.plane.templates
        let announced = try await templates.builds.announce(TemplateRequest(name: name, tags: tags), caller: caller)
        try await templates.builds.start(
            announced.build, of: announced.template,
            BuildPlan(
                parent: parent, steps: steps, startCommand: start, readyCommand: ready, isForced: isForced,
                network: network), caller: caller)
        var lines: [TemplateBuild] = []
        try await templates.follow(announced.build, of: name, caller: caller) { lines.append($0) }
        return (announced.build, announced.template, lines)
    }

    @Test("Steps run in order, and what they leave is the template's")
    func steps() async throws {
        try await with { fixture, _ in
            let place = fixture.scratch.path
            let made = try await build(
                fixture,
                [
                    // Not the one every template has: this computer has none of that name.
                    .user("root"),
                    .environment([.init(name: "PLACE", value: place), .init(name: "PLAIN", value: "a 'b'")]),
                    .environment([.init(name: "BELOW", value: "$PLACE/below")]),
                    .workingDirectory(place), .workingDirectory("work"),
                    .run(command: "pwd > where; echo $BELOW; echo $PLAIN >&2", user: "root"),
                ], start: "serve me", ready: "test -e ready")
            #expect(made.lines.last?.state == "succeeded", "\(made.lines.last?.message ?? "")")
            let said = made.lines.map(\.message)
            #expect(said.contains("\(place)/below") && said.contains("a 'b'"))
            #expect(said.contains { $0.hasSuffix("ENV PLACE PLAIN") } && !said.contains { $0.contains("ENV \(place)") })
            #expect(try AtomicFile.read("\(place)/work/where") == Array("\(place)/work\n".utf8))
            let draft = try #require(fixture.node.drafts.first)
            #expect(draft.name == made.id && draft.parent == "base")
            #expect(draft.derivation.environment == ["PLACE": place, "PLAIN": "a 'b'", "BELOW": "\(place)/below"])
            #expect(draft.derivation.workingDirectory == "\(place)/work" && draft.derivation.user == "root")
            #expect(Array(draft.derivation.tags.keys) == ["default"])
            let service = try #require(draft.service)
            #expect(service.runsOnce && service.command == ["/bin/bash", "-l", "-c", "serve me"])
            #expect(service.readiness == .command(["/bin/bash", "-l", "-c", "test -e ready"]))
            #expect(service.workingDirectory == "\(place)/work" && service.environment.contains("PLAIN=a 'b'"))
            // The sandbox it was built in was nobody's, and is gone.
            #expect(fixture.node.created.count == 1 && fixture.node.destroyed.contains(fixture.node.created[0].id))
            #expect(try fixture.plane.sandboxes.list(SandboxFilter(), caller: .local).items.isEmpty)
        }
    }

    @Test("Files come from archives that were sent")
    func copies() async throws {
        try await with { fixture, builds in
            let place = fixture.scratch.path
            let source = try Scratch()
            let sandbox = try await fixture.create()
            _ = try await fixture.exec(
                sandbox.id, "cd \(source.path); mkdir dir; printf deep > dir/file; tar -czf archive dir")
            let archive = try AtomicFile.read(source.path + "/archive")
            let hash = String(repeating: "a1", count: 32)
            let announced = try await builds.announce(TemplateRequest(name: "app"), caller: .local)
            #expect(try builds.hasFiles(hash, for: announced.template, caller: .local) == false)
            var pieces = [Array(archive.prefix(100)), Array(archive.dropFirst(100))]
            try await builds.receive(hash, for: announced.template, announced: archive.count) {
                pieces.isEmpty ? nil : pieces.removeFirst()
            }
            #expect(try builds.hasFiles(hash, for: announced.template, caller: .local))
            func copy(_ source: String, _ target: String, _ mode: String) -> BuildStep {
                .copy(files: hash, source: source, target: place + target, owner: "root", mode: mode)
            }
            let steps = [
                .user("root"), copy("dir", "/copied", ""), copy("dir/*", "/spread/", "0700"),
                copy("dir/file", "/one", "0640"),
            ]
            let made = try await build(fixture, steps)
            #expect(made.lines.last?.state == "succeeded", "\(made.lines.last?.message ?? "")")
            let told = try await fixture.exec(
                sandbox.id, "cd \(place); cat copied/file spread/file one; stat -c ' %a' spread/file one")
            #expect(told.stdout == "deepdeepdeep 700\n 640\n")
            let missing = try await build(
                fixture, name: "missing",
                [
                    .user("root"),
                    .copy(files: String(repeating: "b", count: 64), source: "x", target: "/x", owner: "", mode: ""),
                ])
            #expect(missing.lines.last?.error?.message.contains("not uploaded") == true)
        }
    }

    @Test("A step that fails ends the build with its number, and leaves nothing")
    func failure() async throws {
        try await with { fixture, _ in
            let made = try await build(
                fixture, [.run(command: "true", user: "root"), .run(command: "echo why; exit 9", user: "root")])
            let last = try #require(made.lines.last)
            let details = last.error?.details
            #expect(last.state == "failed" && details?["step"] == "2" && details?["exit_code"] == "9")
            #expect(made.lines.map(\.message).contains("why"))
            #expect(fixture.node.drafts.isEmpty && fixture.node.destroyed == fixture.node.created.map(\.id))
            #expect(await code { try await fixture.plane.templates.get("app", caller: .local) } == .notFound)
            fixture.node.failDerivations(MartletError(.failedPrecondition, "it does not come up"))
            let second = try await build(fixture, [.run(command: "true", user: "root")])
            #expect(second.lines.last?.error?.details["step"] == "finalize")
            #expect(await code { try await fixture.plane.templates.get("app", caller: .local) } == .notFound)
        }
    }

    @Test("A template is its owner's: to others it is not there")
    func ownership() async throws {
        try await with { fixture, builds in
            let (ann, bob) = (try await fixture.user("ann"), try await fixture.user("bob"))
            let made = try await build(fixture, caller: ann)
            let templates = fixture.plane.templates
            #expect(try await templates.get("app", caller: ann).name == made.id)
            #expect(try await templates.list(caller: bob).map(\.name) == ["base", "other"])
            for name in ["app", made.id, made.template, "app:default"] {
                #expect(await code { try await templates.get(name, caller: bob) } == .notFound)
                let request = CreateSandboxRequest(template: name)
                #expect(
                    await code {
                        try await fixture.plane.sandboxes.create(request, idempotencyKey: nil, caller: bob)
                    } == .notFound)
                let own = try await fixture.plane.sandboxes.create(request, idempotencyKey: nil, caller: ann)
                #expect(own.template == made.id)
            }
            #expect(await code { try await templates.remove("app", caller: bob) } == .permissionDenied)
            #expect(await code { try await builds.assign(["x"], to: .init(name: "app"), caller: bob) } == .notFound)
            #expect(await code { try builds.tags(of: "app", caller: bob) } == .notFound)
            #expect(
                await code { try builds.hasFiles(String(repeating: "a", count: 64), for: made.template, caller: bob) }
                    == .notFound)
            #expect(await code { try templates.build(made.id, of: "app", caller: bob) } == .notFound)
            // The name is free for others, and an administrator finds the one that is meant.
            let other = try await build(fixture, caller: bob)
            #expect(other.template != made.template)
            #expect(await code { try await templates.get("app", caller: .local) } == .conflict)
            try await templates.remove(other.id, caller: .local)
            #expect(try await templates.get("app", caller: .local).name == made.id)
            try await templates.remove("app", caller: ann)
            #expect(fixture.node.removedTemplates == [other.id, made.id])
        }
    }

    @Test("What is another control plane's on the same images is not there, whatever its id is")
    func foreignBuilds() async throws {
        try await with { fixture, _ in
            let request = CreateSandboxRequest(template: "0b6f3a51-6f0e-4c7e-9d43-3c2a8f1f7a10")
            #expect(await code { try await fixture.create(request) } == .notFound)
            #expect(fixture.node.created.isEmpty)
        }
    }

    @Test("A tag leads to one build; a build without a tag goes when nothing runs from it")
    func tags() async throws {
        try await with { fixture, builds in
            func tags(_ name: String = "app") throws -> [String: String] {
                Dictionary(
                    uniqueKeysWithValues: try builds.tags(of: name, caller: .local).map { ($0.tag, $0.build) })
            }
            let first = try await build(fixture, tags: ["v1", "stable"], [.run(command: "true", user: "root")])
            let second = try await build(fixture, tags: ["v2"], [.run(command: "true ", user: "root")])
            #expect(first.template == second.template)
            let assigned = try await builds.assign(["stable"], to: .init(name: "app", tag: "v2"), caller: .local)
            #expect(assigned.build == second.id && assigned.tags == ["stable", "v2"])
            #expect(try tags() == ["v1": first.id, "v2": second.id, "stable": second.id])
            // Without a tag of that name, the newest.
            #expect(try await fixture.plane.templates.get("app", caller: .local).name == second.id)
            #expect(await code { try await fixture.plane.templates.get("app:v9", caller: .local) } == .notFound)
            fixture.node.use([first.id])
            try await builds.remove(["v1"], from: "app", caller: .local)
            #expect(try tags() == ["v2": second.id, "stable": second.id])
            #expect(fixture.node.removedTemplates.isEmpty)
            fixture.node.use([])
            await builds.sweep()
            #expect(fixture.node.removedTemplates == [first.id])
            // A new build takes the tags over.
            let third = try await build(fixture, tags: ["v2", "stable"], [.run(command: "true  ", user: "root")])
            #expect(try tags() == ["v2": third.id, "stable": third.id])
            #expect(fixture.node.removedTemplates == [first.id, second.id])
        }
    }

    @Test("The same recipe is not run again, unless asked for")
    func cache() async throws {
        try await with { fixture, _ in
            let steps: [BuildStep] = [
                .environment([.init(name: "A", value: "1")]), .run(command: "true", user: "root"),
            ]
            _ = try await build(fixture, tags: ["a"], steps)
            let again = try await build(fixture, tags: ["b"], steps)
            #expect(again.lines.map(\.message).contains { $0.hasPrefix("CACHED") })
            #expect(fixture.node.created.count == 1)
            let draft = try #require(fixture.node.drafts.last)
            if case .template = draft.source {} else { Issue.record("it has a sandbox: \(draft.source)") }
            #expect(draft.derivation.environment == ["A": "1"])
            _ = try await build(fixture, tags: ["c"], steps, isForced: true)
            #expect(fixture.node.created.count == 2)
            // Another key's builds are none of this one's.
            _ = try await build(fixture, tags: ["d"], steps, caller: try await fixture.user())
            #expect(fixture.node.created.count == 3)
        }
    }

    @Test("A template built out of a built one begins with what that one has")
    func inheritance() async throws {
        try await with { fixture, _ in
            let place = fixture.scratch.path
            let parent = try await build(
                fixture, name: "parent",
                [.user("root"), .environment([.init(name: "A", value: "1")]), .workingDirectory(place)])
            let child = try await build(
                fixture, name: "child", [.run(command: "pwd; id -un", user: nil)], parent: .init(name: "parent"))
            #expect(child.lines.last?.state == "succeeded", "\(child.lines.last?.message ?? "")")
            #expect(child.lines.map(\.message).contains(place) && child.lines.map(\.message).contains("root"))
            let draft = try #require(fixture.node.drafts.last)
            #expect(draft.parent == parent.id && draft.derivation.environment == ["A": "1"])
            #expect(draft.derivation.workingDirectory == place && draft.derivation.user == "root")
            #expect(fixture.node.created.last?.template == parent.id)
        }
    }

    @Test("Steps reach what they were given, and no more")
    func network() async throws {
        try await with { fixture, _ in
            let step = [BuildStep.run(command: "true", user: "root")]
            _ = try await build(fixture, name: "closed", step)
            _ = try await build(fixture, name: "open", step, network: NetworkPolicy(mode: .public))
            #expect(fixture.node.created.map(\.network.policy.mode) == [.none, .public])
        }
    }

    @Test("A new control plane finds what was built, and forgets what was under way")
    func restart() async throws {
        let node = TestNode()
        var made: (id: String, template: String, lines: [TemplateBuild])?
        var open: TemplateBuilds.Announced?
        try await with(node: node) { fixture, builds in
            made = try await build(fixture)
            open = try await builds.announce(TemplateRequest(name: "later"), caller: .local)
        }
        let before = try #require(made)
        let announced = try #require(open)
        try await with(node: node) { fixture, builds in
            let found = try await fixture.plane.templates.get("app", caller: .local)
            #expect(found.name == before.id)
            let plan = BuildPlan(parent: Self.base, steps: [])
            #expect(
                await code {
                    try await builds.start(announced.build, of: announced.template, plan, caller: .local)
                } == .notFound)
        }
    }

    static let bad: [(TemplateRequest, [BuildStep])] = [
        (TemplateRequest(name: "no spaces"), []), (TemplateRequest(name: ""), []),
        (TemplateRequest(name: "a", tags: ["b:c"]), []), (TemplateRequest(name: "a", cpus: 99), []),
        (TemplateRequest(name: "a", memoryMiB: 1), []), (TemplateRequest(name: "a", extraDiskMiB: -1), []),
        (TemplateRequest(name: "a"), [.run(command: "", user: nil)]),
        (TemplateRequest(name: "a"), [.run(command: "x", user: "a b")]),
        (TemplateRequest(name: "a"), [.run(command: "x\0", user: nil)]),
        (TemplateRequest(name: "a"), [.environment([])]),
        (TemplateRequest(name: "a"), [.environment([.init(name: "A=B", value: "")])]),
        (TemplateRequest(name: "a"), [.user("")]), (TemplateRequest(name: "a"), [.user("a:b")]),
        (TemplateRequest(name: "a"), [.workingDirectory("")]),
        (TemplateRequest(name: "a"), [.copy(files: "../x", source: "a", target: "b", owner: "", mode: "")]),
        (
            TemplateRequest(name: "a"),
            [.copy(files: String(repeating: "a", count: 64), source: "a", target: "b", owner: "", mode: "rwx")]
        ),
        (TemplateRequest(name: "a"), Array(repeating: .run(command: "x", user: nil), count: 257)),
    ]

    @Test("What is not well-formed is refused before anything is begun", arguments: bad)
    func validation(request: TemplateRequest, steps: [BuildStep]) async throws {
        try await with { fixture, builds in
            #expect(
                await code {
                    let made = try await builds.announce(request, caller: .local)
                    let plan = BuildPlan(parent: Self.base, steps: steps)
                    try await builds.start(made.build, of: made.template, plan, caller: .local)
                } == .invalidArgument)
            #expect(fixture.node.created.isEmpty)
        }
    }

    @Test("Names of the host's own templates are taken", arguments: ["base", "another"])
    func hostNames(name: String) async throws {
        try await with { _, builds in
            #expect(await code { try await builds.announce(TemplateRequest(name: name), caller: .local) } == .conflict)
        }
    }

    @Test(
        "What is not there, or not built, is built out of by nobody",
        arguments: [("nope", MartletError.Code.notFound), ("other", .failedPrecondition), ("base:v1", .notFound)])
    func parents(name: String, expected: MartletError.Code) async throws {
        try await with { _, builds in
            let made = try await builds.announce(TemplateRequest(name: "app"), caller: .local)
            let plan = BuildPlan(parent: try TemplateReference.parse(name, field: "parent"), steps: [])
            let found = await code { try await builds.start(made.build, of: made.template, plan, caller: .local) }
            #expect(found == expected)
        }
    }

    @Test("A build begins once, and a key has so many under way")
    func bounds() async throws {
        try await with { fixture, builds in
            let user = try await fixture.user()
            for _ in 0..<16 { _ = try await builds.announce(TemplateRequest(name: "many"), caller: user) }
            let over = await code { try await builds.announce(TemplateRequest(name: "many"), caller: user) }
            #expect(over == .resourceExhausted)
            let made = try await builds.announce(TemplateRequest(name: "twice"), caller: .local)
            let plan = BuildPlan(parent: Self.base, steps: [])
            try await builds.start(made.build, of: made.template, plan, caller: .local)
            let again = await code { try await builds.start(made.build, of: made.template, plan, caller: .local) }
            #expect(again == .conflict)
        }
    }
}
