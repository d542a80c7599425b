import GuestClient
import MartletAPI
import SandboxModel
import Testing

@testable import ControlPlane

@Suite("Files, through a real guest agent")
struct FileUseCaseTests {
    @Test("A file is written whole, read back, moved and removed")
    func roundTrip() async throws {
        try await PlaneFixture.with { fixture in
            let id = try await fixture.create().id
            let files = fixture.plane.files
            let path = fixture.scratch.path + "/a/b.bin"
            let content = (0..<300_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
            let writer = try await files.write(id, path: path, mode: "0640", owner: nil, caller: .local)
            try await writer.write(content)
            let written = FileResource(try await writer.finish(), path: path)
            #expect(written.mode == "0640")
            #expect(written.size == 300_000)
            var read: [UInt8] = []
            let reader = try await files.read(id, path: path, offset: 0, length: nil, caller: .local)
            for try await bytes in reader { read += bytes }
            #expect(read == content)
            let moved = fixture.scratch.path + "/a/c.bin"
            #expect(try await files.move(id, MoveFileRequest(from: path, to: moved), caller: .local).path == moved)
            let list = try await files.list(id, path: fixture.scratch.path + "/a", depth: 1, limit: 10, caller: .local)
            #expect(list.map(\.path) == [moved])
            #expect(list.map(\.name) == ["c.bin"])
            try await files.remove(id, path: fixture.scratch.path + "/a", recursive: true, caller: .local)
            let gone = await #expect(throws: MartletError.self) {
                try await files.stat(id, path: moved, caller: .local)
            }
            #expect(gone?.code == .notFound)
        }
    }

    @Test("A write that is not finished leaves the old file")
    func unfinished() async throws {
        try await PlaneFixture.with { fixture in
            let id = try await fixture.create().id
            let files = fixture.plane.files
            let path = fixture.scratch.path + "/file"
            let first = try await files.write(id, path: path, mode: nil, owner: nil, caller: .local)
            try await first.write(Array("old".utf8))
            _ = try await first.finish()
            do {
                let second = try await files.write(id, path: path, mode: nil, owner: nil, caller: .local)
                try await second.write(Array("new but cut off".utf8))
            }
            #expect(try await files.stat(id, path: path, caller: .local).size == 3)
            let names = try await files.list(id, path: fixture.scratch.path, depth: 1, limit: 100, caller: .local)
            #expect(names.filter { $0.name.contains("file") }.count == 1)
        }
    }

    @Test("The root directory is neither removed nor written")
    func root() async throws {
        try await PlaneFixture.with { fixture in
            let id = try await fixture.create().id
            await #expect(throws: MartletError.self) {
                try await fixture.plane.files.remove(id, path: "/tmp/..", recursive: true, caller: .local)
            }
            await #expect(throws: MartletError.self) {
                try await fixture.plane.files.write(id, path: "/", mode: nil, owner: nil, caller: .local)
            }
            for mode in ["", "8", "-1", "10000", "rw"] {
                await #expect(throws: MartletError.self) {
                    try await fixture.plane.files.write(id, path: "/tmp/x", mode: mode, owner: nil, caller: .local)
                }
            }
        }
    }
}
