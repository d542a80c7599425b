import Foundation
import Glibc
import GuestProtocol
import Testing

@Suite struct FileWatchTests {
    @Test func tellsWhatHappensInADirectoryAndBelow() async throws {
        try await AgentFixture.with { agent in
            let stream = try await watch(agent, agent.directory)
            try await expect(agent, stream, .created, "new", directory: true) { mkdir(agent.path("new"), 0o755) }
            try await expect(agent, stream, .created, "new/file") {
                close(open(agent.path("new/file"), O_CREAT | O_WRONLY, 0o644))
            }
            try await expect(agent, stream, .modified, "new/file") {
                let file = open(agent.path("new/file"), O_WRONLY)
                write(file, "x", 1)
                close(file)
            }
            try await expect(agent, stream, .attributes, "new/file") { chmod(agent.path("new/file"), 0o600) }
            try await expect(agent, stream, .renamed, "new", to: "moved", directory: true) {
                rename(agent.path("new"), agent.path("moved"))
            }
            try await expect(agent, stream, .removed, "moved/file") { unlink(agent.path("moved/file")) }
            try await expect(agent, stream, .removed, "moved", directory: true) { rmdir(agent.path("moved")) }
            try await agent.client.cancel(stream)
            mkdir(agent.path("unheard"), 0o755)
            #expect(try await agent.client.run("true").exit.code == 0)
        }
    }

    @Test func whatIsInATreeThatAppearsWholeIsTold() async throws {
        try await AgentFixture.with { agent in
            mkdir(agent.path("watched"), 0o755)
            try FileManager.default.createDirectory(
                atPath: agent.path("made/inner"), withIntermediateDirectories: true)
            close(open(agent.path("made/inner/file"), O_CREAT | O_WRONLY, 0o644))
            let stream = try await watch(agent, agent.path("watched"))
            rename(agent.path("made"), agent.path("watched/made"))
            var found: Set<String> = []
            while found.count < 3 {
                let event = try await next(agent, stream)
                #expect(event.kind == .created)
                found.insert(event.path)
            }
            #expect(found == Set(["", "/inner", "/inner/file"].map { agent.path("watched/made") + $0 }))
            // And what leaves the tree is no longer watched.
            rename(agent.path("watched/made"), agent.path("made"))
            let gone = try await next(agent, stream)
            #expect(gone.kind == .removed && gone.path == agent.path("watched/made"))
            close(open(agent.path("made/inner/unheard"), O_CREAT | O_WRONLY, 0o644))
            mkdir(agent.path("watched/last"), 0o755)
            #expect(try await next(agent, stream).path == agent.path("watched/last"))
        }
    }

    @Test func aWatchedFileIsFollowedThroughItsReplacement() async throws {
        try await AgentFixture.with { agent in
            _ = try await agent.client.writeFile(WriteFile(path: agent.path("file")), [1])
            let stream = try await watch(agent, agent.path("file"), recursive: false)
            close(open(agent.path("other"), O_CREAT | O_WRONLY, 0o644))
            _ = try await agent.client.writeFile(WriteFile(path: agent.path("file")), [2])
            let event = try await next(agent, stream)
            #expect(event.kind == .created)
            #expect(event.path == agent.path("file"))
        }
    }

    @Test func eventsNobodyReadsAreBoundedAndTheLossIsTold() async throws {
        try await AgentFixture.with { agent in
            let limit =
                try Int(
                    String(contentsOfFile: "/proc/sys/fs/inotify/max_queued_events", encoding: .utf8)
                        .trimmingCharacters(in: .whitespacesAndNewlines)) ?? 16_384
            try #require(limit <= 65_536)
            let stream = try await watch(agent, agent.directory, window: 1)
            for index in 0...(limit / 2 + 1000) {
                let path = agent.path("f\(index)")
                close(open(path, O_CREAT | O_WRONLY, 0o644))
                unlink(path)
            }
            try await agent.client.send(.credit(stream: stream, bytes: 1 << 30))
            var kind = FileEvent.Kind.created
            while kind != .overflow { kind = try await next(agent, stream).kind }
        }
    }

    // MARK: -

    private func watch(
        _ agent: AgentFixture, _ path: String, recursive: Bool = true, window: UInt32 = TestClient.window
    ) async throws -> UInt32 {
        let stream = try await agent.client.open(
            .watchFiles, window: window, WatchFiles(path: path, recursive: recursive))
        #expect(try await agent.client.next(stream).kind == .reply)
        return stream
    }

    private func next(_ agent: AgentFixture, _ stream: UInt32) async throws -> FileEvent {
        let frame = try await agent.client.next(stream)
        try #require(frame.kind == .data)
        return try FileEvent(decoding: frame.payload)
    }

    /// Does something and skips what else it causes until the event it is about comes.
    private func expect(
        _ agent: AgentFixture, _ stream: UInt32, _ kind: FileEvent.Kind, _ name: String, to destination: String = "",
        directory: Bool = false, _ action: () -> Void
    ) async throws {
        action()
        let wanted = FileEvent(
            kind: kind, path: agent.path(name), destination: destination.isEmpty ? "" : agent.path(destination),
            isDirectory: directory)
        var seen: [FileEvent] = []
        while seen.last != wanted, seen.count < 4 { seen.append(try await next(agent, stream)) }
        #expect(seen.last == wanted, "\(seen)")
    }
}
