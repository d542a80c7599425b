import MartletAPI
import MartletClient
import NIOCore
import SandboxModel
import Testing

/// A promise that holds whatever the wall is.
struct Promise: Sendable {
    var name: String
    var check: @Sendable (ConformanceWorld) async throws -> Void

    init(_ name: String, _ check: @escaping @Sendable (ConformanceWorld) async throws -> Void) {
        self.name = name
        self.check = check
    }
}

/// Promises about one thing, checked with one daemon.
struct Topic: Sendable, CustomTestStringConvertible {
    var name: String
    var promises: [Promise]

    var testDescription: String { name }

    static let all: [Topic] = [
        .commands, .processes, .terminals, .files, .identity, .limits, .facts, .life, .network, .captures, .wall,
    ]
}

/// A daemon, the kind of isolation that is looked at, and a sandbox of it.
struct ConformanceWorld: Sendable {
    let fixture: DaemonFixture
    let wall: Wall
    let sandbox: SandboxResource

    var client: MartletClient { fixture.client }

    /// Makes another sandbox of the same kind.
    func create(_ change: (inout CreateSandboxRequest) -> Void = { _ in }) async throws -> SandboxResource {
        var request = CreateSandboxRequest(isolation: wall.rawValue)
        change(&request)
        return try await client.createSandbox(request)
    }

    func shell(_ line: String, in other: SandboxResource? = nil, seconds: Double = 60) async throws -> ExecResult {
        try await fixture.shell(other ?? sandbox, line, timeoutSeconds: seconds)
    }

    /// What a line prints, without the last newline.
    func output(_ line: String, in other: SandboxResource? = nil) async throws -> String {
        try await fixture.output(other ?? sandbox, line)
    }

    func run(_ request: ExecRequest, in other: SandboxResource? = nil) async throws -> ExecResult {
        try await client.exec((other ?? sandbox).id, request)
    }

    /// Expects a line of shell to print a text, the last newline left out.
    func expect(
        _ line: String, in other: SandboxResource? = nil, prints text: String,
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        let printed = try await output(line, in: other)
        #expect(printed == text, "\(line)", sourceLocation: sourceLocation)
    }

    /// Expects a command to print a text.
    func expect(
        _ request: ExecRequest, in other: SandboxResource? = nil, prints text: String,
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        let result = try await run(request, in: other)
        #expect(result.stdout == text, "\(result.stderr ?? "")", sourceLocation: sourceLocation)
    }

    /// Expects a command to end with a code.
    func expect(
        _ request: ExecRequest, exits code: Int32, sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        let result = try await run(request)
        #expect(result.exitCode == code, "\(result.stderr ?? "")", sourceLocation: sourceLocation)
    }

    func start(_ request: StartProcessRequest) async throws -> ProcessResource {
        try await client.startProcess(sandbox.id, request)
    }

    /// All a process prints from an offset on, and how it ends.
    func follow(_ pid: Int32, from offset: UInt64 = 0) async throws -> (text: String, exit: ProcessExitResource?) {
        var bytes: [UInt8] = []
        var end: ProcessExitResource?
        for try await event in client.processEvents(sandbox.id, pid, from: offset) {
            if case .output(_, let piece) = event { bytes += piece }
            if case .exit(let exit) = event { end = exit }
        }
        return (String(decoding: bytes, as: UTF8.self), end)
    }

    /// Reads what a process prints until it contains a text.
    func wait(for text: String, from pid: Int32) async throws -> String {
        var bytes: [UInt8] = []
        for try await event in client.processEvents(sandbox.id, pid) {
            if case .output(_, let piece) = event { bytes += piece }
            if String(decoding: bytes, as: UTF8.self).contains(text) { break }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    func file(_ path: String) async throws -> [UInt8] {
        var bytes: [UInt8] = []
        for try await piece in try await client.download(sandbox.id, path) { bytes += Array(piece.readableBytesView) }
        return bytes
    }

    /// The error something ends with.
    func failure(_ body: () async throws -> Void) async -> MartletError? {
        do {
            try await body()
            return nil
        } catch {
            return error as? MartletError
        }
    }
}

@Suite(.serialized, .requiresDaemon, .timeLimit(.minutes(20))) struct ConformanceTests {
    @Test(.requires(.microvm), arguments: Topic.all) func `a microVM keeps what sandboxes promise`(_ topic: Topic)
        async throws
    {
        try await check(.microvm, topic)
    }

    @Test(.requires(.firecracker), arguments: Topic.all) func `Firecracker keeps what sandboxes promise`(_ topic: Topic)
        async throws
    {
        try await check(.firecracker, topic)
    }

    @Test(.requires(.gvisor), arguments: Topic.all) func `gVisor keeps what sandboxes promise`(_ topic: Topic)
        async throws
    {
        try await check(.gvisor, topic)
    }

    @Test(.requires(.process), arguments: Topic.all) func `a process jail keeps what sandboxes promise`(_ topic: Topic)
        async throws
    {
        try await check(.process, topic)
    }

    @Test func `the promises are many, and each is made once`() {
        let names = Topic.all.flatMap { topic in topic.promises.map { "\(topic.name): \($0.name)" } }
        #expect(names.count >= 60)
        #expect(Set(names).count == names.count)
    }

    /// Checks all promises of a topic: one that is broken does not keep the others from being looked at.
    private func check(_ wall: Wall, _ topic: Topic) async throws {
        try await DaemonFixture.with { fixture in
            let sandbox = try await fixture.create(CreateSandboxRequest(timeoutSeconds: 900, isolation: wall.rawValue))
            let world = ConformanceWorld(fixture: fixture, wall: wall, sandbox: sandbox)
            for promise in topic.promises {
                do {
                    try await promise.check(world)
                } catch {
                    Issue.record("\(wall.rawValue), \(topic.name), \(promise.name): \(error)")
                }
            }
        }
    }
}
