import Glibc
import LinuxSystem
import SandboxModel
import Testing

@testable import MartletCommands

@Suite struct CopyTests {
    @Test func placesAreReadAsInDocker() throws {
        #expect(try CopyPlace(parsing: "-") == .stream)
        #expect(try CopyPlace(parsing: "file") == .host("file"))
        #expect(try CopyPlace(parsing: "./a:b") == .host("./a:b"))
        #expect(try CopyPlace(parsing: "/a:b") == .host("/a:b"))
        #expect(try CopyPlace(parsing: "box:/tmp/x") == .sandbox(id: "box", path: "/tmp/x"))
        #expect(try CopyPlace(parsing: "box:x:y") == .sandbox(id: "box", path: "/x:y"))
        #expect(try CopyPlace(parsing: "box:") == .sandbox(id: "box", path: "/"))
        #expect(throws: MartletError.self) { try CopyPlace(parsing: "") }
        #expect(throws: MartletError.self) { try CopyPlace(parsing: "box:/a\u{0}b") }
    }

    @Test(arguments: ["", ".", "..", "a/b", "/etc", "../x", "a\u{0}b", String(repeating: "n", count: 256)])
    func namesThatLeaveTheDirectoryAreRefused(name: String) throws {
        let directory = try TemporaryDirectory()
        let target = try HostDirectory.open(directory.path)
        #expect(throws: MartletError.self) { try target.file(name) }
        #expect(throws: MartletError.self) { try target.directory(name, mode: 0o755) }
        #expect(throws: MartletError.self) { try target.link(name, to: "x") }
    }

    @Test func aLinkTheSandboxPlantedIsNotFollowed() throws {
        let directory = try TemporaryDirectory()
        let (inside, outside) = (directory.path + "/inside", directory.path + "/outside")
        mkdir(inside, 0o700)
        mkdir(outside, 0o700)
        try AtomicFile.write(Array("mine".utf8), to: outside + "/file", durable: false)
        let target = try HostDirectory.open(inside)
        try target.link("dir", to: outside)
        try target.link("file", to: outside + "/file")
        #expect(throws: SystemError.self) { try target.directory("dir", mode: 0o755) }
        let pending = try target.file("file")
        try pending.file.writeAll(Array("theirs".utf8))
        try pending.finish(mode: 0o644)
        #expect(try AtomicFile.read(outside + "/file") == Array("mine".utf8))
        #expect(try AtomicFile.read(inside + "/file") == Array("theirs".utf8))
    }

    @Test func aFileShowsOnlyWhenItIsWhole() throws {
        let directory = try TemporaryDirectory()
        let target = try HostDirectory.open(directory.path)
        let dropped = try target.file("f")
        try dropped.file.writeAll([1, 2, 3])
        #expect(access(directory.path + "/f", F_OK) != 0)
        dropped.discard()
        #expect(access("\(directory.path)/\(dropped.aside)", F_OK) != 0)
        let kept = try target.file("f")
        try kept.file.writeAll([4])
        try kept.finish(mode: 0o4750)
        var facts = stat()
        #expect(stat(directory.path + "/f", &facts) == 0)
        // Set-user-id of a sandbox is none here.
        #expect(facts.st_mode & 0o7777 == 0o750)
    }

    @Test func aLinkReplacesALinkButNotAFile() throws {
        let directory = try TemporaryDirectory()
        let target = try HostDirectory.open(directory.path)
        try target.link("l", to: "one")
        try target.link("l", to: "two")
        try target.file("f").finish(mode: 0o600)
        #expect(throws: SystemError.self) { try target.link("f", to: "one") }
        #expect(throws: MartletError.self) { try target.link("x", to: "") }
    }
}
