import Foundation
import Glibc
import GuestProtocol
import Testing

@Suite struct FileTests {
    @Test func eightMebibytesGoThereAndBack() async throws {
        try await AgentFixture.with { agent in
            let bytes = (0..<(8 << 20)).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ $0 >> 11) }
            let path = agent.path("deep/er/file")
            let written = try await agent.client.writeFile(WriteFile(path: path, mode: 0o640), bytes)
            #expect(written.path == path)
            #expect(written.size == UInt64(bytes.count))
            #expect(written.mode == 0o640)
            #expect(written.kind == .file)
            let stream = try await agent.client.open(.readFile, window: 100_000, ReadFile(path: path))
            let reply = try await agent.client.next(stream)
            #expect(try FileInfo(decoding: reply.payload).size == UInt64(bytes.count))
            #expect(try await agent.client.collect(stream) == bytes)
            let part = try await agent.client.open(.readFile, ReadFile(path: path, offset: 1000, length: 50))
            #expect(try await agent.client.collect(part) == Array(bytes[1000..<1050]))
            let past = try await agent.client.open(.readFile, ReadFile(path: path, offset: 1 << 40))
            #expect(try await agent.client.collect(past).isEmpty)
        }
    }

    @Test func filesWithoutASizeAreReadToTheirEnd() async throws {
        try await AgentFixture.with { agent in
            let stream = try await agent.client.open(.readFile, ReadFile(path: "/proc/self/status"))
            #expect(String(decoding: try await agent.client.collect(stream), as: UTF8.self).contains("Threads:"))
        }
    }

    @Test func aCancelledWriteLeavesTheOldFileAndNothingElse() async throws {
        try await AgentFixture.with { agent in
            let path = agent.path("file")
            _ = try await agent.client.writeFile(WriteFile(path: path), Array("old".utf8))
            let stream = try await agent.client.open(.writeFile, WriteFile(path: path))
            try await agent.client.sendInput(stream, Array("new".utf8), ends: false)
            try await agent.client.cancel(stream)
            let dropped = try await agent.client.open(.writeFile, WriteFile(path: path))
            try await agent.client.sendInput(dropped, Array("newer".utf8), ends: false)
            try await agent.client.synchronize()
            #expect(try String(contentsOfFile: path, encoding: .utf8) == "old")
            #expect(try FileManager.default.contentsOfDirectory(atPath: agent.directory) == ["file"])
        }
    }

    @Test func aReplacedFileKeepsItsModeOwnerAndLink() async throws {
        try await AgentFixture.with { agent in
            let path = agent.path("file")
            _ = try await agent.client.writeFile(WriteFile(path: path, mode: 0o600, owner: "nobody"), [1])
            symlink("file", agent.path("link"))
            let info = try await agent.client.writeFile(WriteFile(path: agent.path("link")), [1, 2])
            #expect(info.size == 2)
            let facts = try await agent.client.request(.statFile, FileReference(path: path), as: FileInfo.self)
            #expect(facts.mode == 0o600)
            #expect(facts.uid == 65534)
            #expect(facts.size == 2)
            let link = try await agent.client.request(
                .statFile, FileReference(path: agent.path("link")), as: FileInfo.self)
            #expect(link.kind == .symbolicLink)
            #expect(link.target == "file")
        }
    }

    @Test func listsToAnyDepthWithoutFollowingLinks() async throws {
        try await AgentFixture.with { agent in
            _ = try await agent.client.writeFile(WriteFile(path: agent.path("a/b/c/file")), [1, 2, 3])
            symlink("/", agent.path("a/root"))
            let flat = try await list(agent, agent.directory, depth: 1)
            #expect(flat.map(\.path) == ["a"])
            #expect(flat.first?.kind == .directory)
            let deep = try await list(agent, agent.directory, depth: 10)
            #expect(deep.map(\.path) == ["a", "a/b", "a/b/c", "a/b/c/file", "a/root"])
            #expect(deep[3].size == 3)
            #expect(deep[4].target == "/")
            let empty = try await agent.client.request(.makeDirectory, MakeDirectory(path: agent.path("empty")))
            #expect(try FileInfo(decoding: empty).kind == .directory)
            #expect(try await list(agent, agent.path("empty"), depth: 1).isEmpty)
        }
    }

    @Test func aLargeDirectoryComesInPartsAsCreditAllows() async throws {
        try await AgentFixture.with { agent in
            for index in 0..<3000 {
                close(open(agent.path("file-\(index)"), O_CREAT | O_WRONLY, 0o644))
            }
            let names = try await list(agent, agent.directory, depth: 1, window: 4096).map(\.path)
            #expect(Set(names).count == 3000)
        }
    }

    @Test func removesATreeButNotWhatLinksPointTo() async throws {
        try await AgentFixture.with { agent in
            let client = agent.client
            for index in 0..<600 {
                _ = try await client.request(
                    .makeDirectory, MakeDirectory(path: agent.path("tree/\(index % 3)/\(index)")))
            }
            _ = try await client.writeFile(WriteFile(path: agent.path("kept/file")), [1])
            symlink(agent.path("kept"), agent.path("tree/link"))
            let refusal = try await client.failure(
                .removeFile, RemoveFile(path: agent.path("tree"), recursive: false))
            #expect(refusal?.code == .notEmpty)
            _ = try await client.request(.removeFile, RemoveFile(path: agent.path("tree"), recursive: true))
            #expect(try FileManager.default.contentsOfDirectory(atPath: agent.directory) == ["kept"])
            #expect(FileManager.default.fileExists(atPath: agent.path("kept/file")))
        }
    }

    @Test func errorsNameThePathAndTheReason() async throws {
        try await AgentFixture.with { agent in
            let client = agent.client
            let file = agent.path("file")
            let missing = agent.path("missing")
            _ = try await client.writeFile(WriteFile(path: file), [1])
            mkfifo(agent.path("pipe"), 0o600)
            mkdir(agent.path("sub"), 0o755)
            let cases: [(GuestProtocol.Operation, any WireMessage, GuestFailure.Code)] = [
                (.readFile, ReadFile(path: missing), .notFound),
                (.readFile, ReadFile(path: agent.directory), .isDirectory),
                (.readFile, ReadFile(path: agent.path("pipe")), .invalidArgument),
                (.readFile, ReadFile(path: "relative"), .invalidArgument),
                (.readFile, ReadFile(path: "/a\0b"), .invalidArgument),
                (.writeFile, WriteFile(path: agent.directory), .isDirectory),
                (.writeFile, WriteFile(path: file + "/below"), .notDirectory),
                (.writeFile, WriteFile(path: agent.path("pipe")), .invalidArgument),
                (.writeFile, WriteFile(path: missing, owner: "no-such-user"), .invalidArgument),
                (.statFile, FileReference(path: missing), .notFound),
                (.listDirectory, ListDirectory(path: file), .notDirectory),
                (.listDirectory, ListDirectory(path: missing), .notFound),
                (.makeDirectory, MakeDirectory(path: file), .alreadyExists),
                (.makeDirectory, MakeDirectory(path: agent.directory, parents: false), .alreadyExists),
                (.makeDirectory, MakeDirectory(path: missing + "/x", parents: false), .notFound),
                (.makeDirectory, MakeDirectory(path: file + "/x/y"), .notDirectory),
                (.moveFile, MoveFile(source: missing, destination: file), .notFound),
                (.moveFile, MoveFile(source: file, destination: missing + "/x"), .notFound),
                (.moveFile, MoveFile(source: file, destination: agent.path("sub")), .isDirectory),
                (.removeFile, RemoveFile(path: missing, recursive: true), .notFound),
                (.removeFile, RemoveFile(path: "/", recursive: true), .invalidArgument),
                (.watchFiles, WatchFiles(path: missing, recursive: true), .notFound),
            ]
            for (operation, message, code) in cases {
                let failure = try await client.failure(operation, message)
                #expect(failure?.code == code, "\(operation) \(message): \(failure?.message ?? "no failure")")
            }
            #expect(
                try await client.failure(.statFile, FileReference(path: missing))?.message
                    == "\(missing): No such file or directory")
        }
    }

    @Test func movesReplaceFiles() async throws {
        try await AgentFixture.with { agent in
            _ = try await agent.client.writeFile(WriteFile(path: agent.path("from")), [1, 2])
            _ = try await agent.client.writeFile(WriteFile(path: agent.path("to")), [3])
            let moved = try await agent.client.request(
                .moveFile, MoveFile(source: agent.path("from"), destination: agent.path("to")), as: FileInfo.self)
            #expect(moved.path == agent.path("to"))
            #expect(moved.size == 2)
            #expect(!FileManager.default.fileExists(atPath: agent.path("from")))
        }
    }

    @Test(.enabled(if: Privilege.canMount, "needs to mount a file system"))
    func aFullDiskIsAFailureAndTheAgentGoesOn() async throws {
        try await AgentFixture.with { agent in
            // A file system of one mebibyte, since /dev/full is no regular file.
            try #require(mount("tmpfs", agent.directory, "tmpfs", 0, "size=1m") == 0)
            defer { umount2(agent.directory, 2) }
            let stream = try await agent.client.open(.writeFile, WriteFile(path: agent.path("file")))
            try? await agent.client.sendInput(stream, [UInt8](repeating: 1, count: 2 << 20))
            let failure = await #expect(throws: GuestFailure.self) { _ = try await agent.client.result(stream) }
            #expect(failure?.code == .noSpace)
            #expect(try FileManager.default.contentsOfDirectory(atPath: agent.directory).isEmpty)
            #expect(try await agent.client.run("true").exit.code == 0)
        }
    }

    @Test func labelsStayWithAFileAndAreToldOfThoseThatHaveAny() async throws {
        try await AgentFixture.with { agent in
            let labels = ["author=me", "empty=", "kind=a=b c"]
            let made = try await agent.client.writeFile(WriteFile(path: agent.path("one"), labels: labels), [1])
            #expect(made.labels == labels)
            _ = try await agent.client.writeFile(WriteFile(path: agent.path("below/two"), labels: ["x=1"]), [1])
            _ = try await agent.client.writeFile(WriteFile(path: agent.path("plain")), [1])
            let stream = try await agent.client.open(.listLabels, ListDirectory(path: agent.directory, depth: 2))
            var reader = WireReader(try await agent.client.collect(stream))
            var told: [String: [String]] = [:]
            while reader.remaining > 0 {
                let entry = try FileLabels(from: &reader)
                told[entry.path] = entry.labels
            }
            #expect(told == ["one": labels, "below/two": ["x=1"]])
            let again = try await agent.client.writeFile(WriteFile(path: agent.path("one"), labels: ["only=this"]), [2])
            #expect(again.labels == ["only=this"])
            #expect(try await agent.client.writeFile(WriteFile(path: agent.path("one")), [3]).labels.isEmpty)
            // More than a file system keeps with a file.
            for bad in [["=x"], ["x"], ["big=" + String(repeating: "x", count: 20_000)]] {
                await #expect(throws: (any Error).self) {
                    try await agent.client.writeFile(WriteFile(path: agent.path("one"), labels: bad), [4])
                }
            }
            #expect(try Data(contentsOf: URL(fileURLWithPath: agent.path("one"))) == Data([3]))
        }
    }

    private func list(
        _ agent: AgentFixture, _ path: String, depth: UInt32, window: UInt32 = TestClient.window
    ) async throws -> [FileInfo] {
        let stream = try await agent.client.open(
            .listDirectory, window: window, ListDirectory(path: path, depth: depth))
        var reader = WireReader(try await agent.client.collect(stream))
        var entries: [FileInfo] = []
        while reader.remaining > 0 { entries.append(try FileInfo(from: &reader)) }
        return entries.sorted { $0.path < $1.path }
    }
}
