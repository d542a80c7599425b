import ControlPlane
import E2BProtocol
import Glibc
import MartletAPI
import SandboxModel
import Testing

@testable import Server

/// Parts of what E2B's clients are served by, one at a time; the whole is proved with the clients (Tests/E2BTests).
@Suite("Serving E2B's clients")
struct E2BUnitTests {
    // MARK: Changes of files

    private static let target = WatchTarget(path: "/home/user", isRecursive: true, includesEntry: false)

    private func event(_ path: String, to: String? = nil) -> FileEventResource {
        FileEventResource(path: path, to: to, directory: false)
    }

    private static let aside = "/home/user/.martlet-1234567890123"

    private static let told: [(kind: String, path: String, to: String?, changes: [WatchTarget.Change])] = [
        ("created", "/home/user/a", nil, [.init(path: "/home/user/a", type: .create)]),
        ("modified", "/home/user/a", nil, [.init(path: "/home/user/a", type: .write)]),
        ("removed", "/home/user/a", nil, [.init(path: "/home/user/a", type: .remove)]),
        ("attributes", "/home/user/a", nil, [.init(path: "/home/user/a", type: .chmod)]),
        ("unheard of", "/home/user/a", nil, []),
        (
            "renamed", "/home/user/a", "/home/user/b",
            [.init(path: "/home/user/a", type: .rename), .init(path: "/home/user/b", type: .create)]
        ),
        ("renamed", "/home/user/a", nil, []),
        // A file that is being written through the agent shows when it is whole, as one that was made and written.
        ("created", aside, nil, []), ("modified", aside, nil, []),
        (
            "renamed", aside, "/home/user/b",
            [.init(path: "/home/user/b", type: .create), .init(path: "/home/user/b", type: .write)]
        ),
        // Only what the agent names so; others may have such names, too.
        ("created", "/home/user/.martlet-12", nil, [.init(path: "/home/user/.martlet-12", type: .create)]),
        (
            "created", "/home/user/.martlet-1234567890x", nil,
            [.init(path: "/home/user/.martlet-1234567890x", type: .create)]
        ),
    ]

    @Test("A change is told as E2B's daemon does", arguments: told)
    func changes(_ row: (kind: String, path: String, to: String?, changes: [WatchTarget.Change])) throws {
        #expect(try Self.target.changes(row.kind, event(row.path, to: row.to)) == row.changes)
    }

    @Test("More than could be told is an error, not a gap")
    func overflow() {
        #expect(throws: ConnectError.self) { try Self.target.changes("overflow", event("/home/user")) }
    }

    @Test(
        "Names are relative to what is watched",
        arguments: [
            ("/home/user", "/home/user/a/b", "a/b"), ("/home/user", "/home/user", "."), ("/", "/a", "a"),
            ("/", "/", "."),
            ("/home/user", "/home/username/a", "/home/username/a"),
        ])
    func names(root: String, path: String, name: String) {
        #expect(WatchTarget(path: root, isRecursive: false, includesEntry: false).name(of: path) == name)
    }

    // MARK: Watches

    private func watch(_ fixture: ServerFixture, _ sandbox: String) async throws -> FileWatch {
        try await fixture.plane.files.watch(sandbox, path: fixture.scratch.path, recursive: false, caller: .local)
    }

    private func add(_ watchers: Watchers, _ fixture: ServerFixture, _ sandbox: String) async throws -> String {
        watchers.add(try await watch(fixture, sandbox), on: Self.target, of: sandbox)
    }

    @Test("A watch is its sandbox's, and is gone once removed")
    func watches() async throws {
        try await ServerFixture.with { fixture in
            let (watchers, sandbox, other) = (Watchers(), try await fixture.create(), try await fixture.create())
            let id = try await add(watchers, fixture, sandbox)
            #expect(watchers.watch(id, of: sandbox)?.target == Self.target)
            #expect(watchers.watch(id, of: other) == nil && watchers.watch("w0", of: sandbox) == nil)
            watchers.replace(id, with: try await watch(fixture, sandbox), of: other)
            watchers.replace(id, with: try await watch(fixture, sandbox), of: sandbox)
            #expect(!watchers.remove(id, of: other) && watchers.remove(id, of: sandbox))
            #expect(!watchers.remove(id, of: sandbox) && watchers.watch(id, of: sandbox) == nil)
        }
    }

    @Test("A sandbox has so many, and the one that was asked for longest ago makes room")
    func room() async throws {
        try await ServerFixture.with { fixture in
            let (watchers, sandbox, other) = (Watchers(), try await fixture.create(), try await fixture.create())
            let foreign = try await add(watchers, fixture, other)
            var ids: [String] = []
            for _ in 0..<64 { ids.append(try await add(watchers, fixture, sandbox)) }
            #expect(watchers.watch(ids[0], of: sandbox) != nil)
            let last = try await add(watchers, fixture, sandbox)
            #expect(watchers.watch(ids[1], of: sandbox) == nil)
            #expect(watchers.watch(ids[0], of: sandbox) != nil && watchers.watch(last, of: sandbox) != nil)
            #expect(watchers.watch(foreign, of: other) != nil)
        }
    }

    // MARK: Ports

    private func place(_ sandbox: String, port: UInt16 = 8000, isOurs: Bool = false, speaksE2B: Bool = false)
        -> PreviewPlace
    {
        PreviewPlace(
            form: isOurs ? .path("/v1/sandboxes/x/ports/8000") : .headers, sandbox: sandbox, port: port,
            speaksE2B: speaksE2B)
    }

    private func create(_ fixture: ServerFixture, _ settings: SandboxSettings?, onTimeout: TimeoutAction? = nil)
        async throws -> SandboxID
    {
        let made = try await fixture.plane.sandboxes.create(
            CreateSandboxRequest(onTimeout: onTimeout), idempotencyKey: nil, dialect: try settings?.text, caller: .local
        )
        return try #require(SandboxID(rawValue: made.id))
    }

    @Test("Ports are open to whoever knows the id of a public sandbox, and to tokens of others")
    func passage() async throws {
        try await ServerFixture.with { fixture in
            let gate = TrafficGate(controlPlane: fixture.plane)
            let open = try await create(fixture, SandboxSettings(templateID: "base", alias: nil, isPublic: true))
            let closed = try await create(fixture, SandboxSettings(templateID: "base", alias: nil, isPublic: false))
            let ours = try await create(fixture, nil)
            #expect(gate.passage(to: place(open.rawValue), tokens: [])?.holdsToken == false)
            for id in [closed, ours] {
                #expect(gate.passage(to: place(id.rawValue), tokens: []) == nil)
                #expect(
                    gate.passage(to: place(id.rawValue), tokens: ["", "x", gate.tokens.token(.traffic, of: open)])
                        == nil)
                for purpose in [AccessTokens.Purpose.traffic, .control] {
                    let passage = gate.passage(
                        to: place(id.rawValue), tokens: ["x", gate.tokens.token(purpose, of: id)])
                    #expect(
                        passage?.holdsToken == true && passage?.sandbox.id == id.rawValue && passage?.wakes == false)
                }
            }
            // Below a path of our own API our own rules hold; what is not there lets nobody in.
            #expect(gate.passage(to: place(open.rawValue, isOurs: true), tokens: []) == nil)
            #expect(gate.passage(to: place(SandboxID.random().rawValue), tokens: []) == nil)
            #expect(gate.passage(to: place("nonsense"), tokens: []) == nil)
        }
    }

    @Test("Failures are told in E2B's words to its clients, and of sandboxes they made")
    func speech() async throws {
        try await ServerFixture.with { fixture in
            let gate = TrafficGate(controlPlane: fixture.plane)
            let theirs = try await create(fixture, SandboxSettings(templateID: "base", alias: nil))
            let ours = try await create(fixture, nil)
            #expect(gate.speaksE2B(place(theirs.rawValue)) && !gate.speaksE2B(place(ours.rawValue)))
            #expect(gate.speaksE2B(place(ours.rawValue, speaksE2B: true)))
            #expect(!gate.speaksE2B(place(theirs.rawValue, isOurs: true)))
            // Of one that is gone nobody knows; older clients of the code interpreter say nothing of themselves.
            let gone = SandboxID.random().rawValue
            #expect(gate.speaksE2B(place(gone, port: E2BConstants.codePort)) && !gate.speaksE2B(place(gone)))
        }
    }

    @Test("A visit resumes a paused sandbox only where its maker wants that, with its memory")
    func waking() async throws {
        try await ServerFixture.with { fixture in
            let gate = TrafficGate(controlPlane: fixture.plane)
            func wakes(_ settings: SandboxSettings?, _ action: TimeoutAction) async throws -> Bool? {
                let id = try await create(fixture, settings, onTimeout: action)
                _ = try await fixture.plane.sandboxes.pause(id.rawValue, caller: .local)
                let passage = gate.passage(to: place(id.rawValue), tokens: [gate.tokens.token(.traffic, of: id)])
                if let passage, !passage.wakes {
                    let refused = await #expect(throws: MartletError.self) { try await gate.enter(passage, port: 8000) }
                    #expect(refused?.code == .failedPrecondition)
                }
                return passage?.wakes
            }
            func check(_ settings: SandboxSettings?, _ action: TimeoutAction, _ expected: Bool) async throws {
                let found = try await wakes(settings, action)
                #expect(found == expected, "\(String(describing: settings)) \(action)")
            }
            func settings(autoResume: Bool, keepsMemory: Bool = true) -> SandboxSettings {
                SandboxSettings(templateID: "base", alias: nil, autoResume: autoResume, keepsMemory: keepsMemory)
            }
            try await check(settings(autoResume: true), .pause, true)
            try await check(settings(autoResume: true), .kill, false)
            try await check(settings(autoResume: false), .pause, false)
            try await check(settings(autoResume: true, keepsMemory: false), .pause, false)
            try await check(nil, .pause, true)
        }
    }

    // MARK: Images

    @Test(
        "An image has one name, however it is written",
        arguments: [
            ("python", "python:latest"), ("python:3.11-slim", "python:3.11-slim"),
            ("docker.io/library/python:3", "python:3"), ("library/debian", "debian:latest"),
            ("docker.io/e2bdev/base", "e2bdev/base:latest"), ("ghcr.io:443/a/b", "ghcr.io:443/a/b:latest"),
            ("ghcr.io/a/b:1", "ghcr.io/a/b:1"),
        ])
    func images(text: String, name: String) throws { #expect(try ImageReference(text).description == name) }

    @Test("What is no image is none", arguments: ["", ":3", "a b", "python:", "a\u{0}"])
    func noImages(text: String) { #expect(throws: MartletError.self) { try ImageReference(text) } }
}
