import HTTPTypes
import MartletAPI
import SandboxModel
import Testing

@testable import Server

@Suite("Files over HTTP")
struct FileRouteTests {
    @Test("Written and read back, whole and in part, with mode and length")
    func roundTrip() async throws {
        try await ServerFixture.with { fixture in
            let id = try await fixture.create()
            let content = (0..<500_000).map { UInt8(truncatingIfNeeded: $0 &* 13) }
            try await fixture.routed { client in
                let file = "/v1/sandboxes/\(id)/files?path=\(fixture.scratch.path)/dir/a+b%20%C3%BC.bin"
                let written = try await client.call(.put, file + "&mode=0640", bytes: content)
                #expect(written.status == 200)
                let facts = try written.json(FileResource.self)
                #expect(facts.name == "a b ü.bin")
                #expect(facts.mode == "0640")
                let read = try await client.call(.get, file)
                #expect(read.status == 200)
                #expect(read.body == content)
                #expect(read.headers[.contentLength] == "500000")
                #expect(read.headers[HTTPField.Name("X-File-Mode")!] == "0640")
                let part = try await client.call(.get, file + "&offset=100&length=50")
                #expect(part.body == Array(content[100..<150]))
                #expect(part.headers[.contentLength] == "50")
                let range = try await client.call(.get, file, headers: [.range: "bytes=499990-"])
                #expect(range.status == 206)
                #expect(range.body == Array(content[499_990...]))
                #expect(range.headers[.contentRange] == "bytes 499990-499999/500000")
                let past = try await client.call(.get, file, headers: [.range: "bytes=500000-"])
                #expect(past.status == 400)
                let ignored = try await client.call(.get, file, headers: [.range: "bytes=-5"])
                #expect(ignored.status == 200)
                let empty = try await client.call(.get, file + "&offset=600000")
                #expect(empty.status == 200)
                #expect(empty.body.isEmpty)
            }
        }
    }

    @Test("Empty files are empty; files of /proc that say so are read nevertheless")
    func emptyAndProc() async throws {
        try await ServerFixture.with { fixture in
            let id = try await fixture.create()
            try await fixture.routed { client in
                let root = "/v1/sandboxes/\(id)/files"
                let file = "\(root)?path=\(fixture.scratch.path)/empty"
                #expect(try await client.call(.put, file, bytes: []).status == 200)
                let empty = try await client.call(.get, file)
                #expect(empty.status == 200)
                #expect(empty.headers[.contentLength] == "0")
                let proc = try await client.call(.get, "\(root)?path=/proc/sys/kernel/ostype")
                #expect(proc.text == "Linux\n")
            }
        }
    }

    @Test("Directories are made, listed, moved and removed")
    func directories() async throws {
        try await ServerFixture.with { fixture in
            let id = try await fixture.create()
            try await fixture.routed { client in
                let (root, base) = ("/v1/sandboxes/\(id)/files", fixture.scratch.path)
                let made = try await client.call(.post, "\(root)/mkdir", #"{"path":"\#(base)/a/b","mode":"0700"}"#)
                #expect(made.status == 201)
                #expect(try made.json(FileResource.self).mode == "0700")
                #expect(try await client.call(.put, "\(root)?path=\(base)/a/b/f", "x").status == 200)
                let list = try await client.call(.get, "\(root)/list?path=\(base)/a&depth=5")
                let paths = try list.json(Page<FileResource>.self).items.map(\.path).sorted()
                #expect(paths == ["\(base)/a/b", "\(base)/a/b/f"])
                let tooMany = try await client.call(.get, "\(root)/list?path=\(base)/a&depth=5&limit=1")
                #expect(tooMany.status == 413)
                let moved = try await client.call(
                    .post, "\(root)/move", #"{"from":"\#(base)/a/b/f","to":"\#(base)/g"}"#)
                #expect(try moved.json(FileResource.self).path == "\(base)/g")
                #expect(try await client.call(.get, "\(root)/stat?path=\(base)/g").status == 200)
                let busy = try await client.call(.delete, "\(root)?path=\(base)/a")
                #expect(busy.status == 409)
                #expect(try await client.call(.delete, "\(root)?path=\(base)/a&recursive=true").status == 204)
                #expect(try await client.call(.get, "\(root)/stat?path=\(base)/a").status == 404)
                let directory = try await client.call(.get, "\(root)?path=\(base)")
                #expect(directory.status == 400)
                #expect(try directory.error().details["reason"] == "is_directory")
            }
        }
    }
}
