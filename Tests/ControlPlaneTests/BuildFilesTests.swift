import FoundationEssentials
import Glibc
import LinuxSystem
import SandboxModel
import Testing

@testable import ControlPlane

@Suite("Archives for template builds")
struct BuildFilesTests {
    private static let gzip: [UInt8] = [0x1F, 0x8B, 8, 0] + [UInt8](repeating: 1, count: 600)

    private func hash(_ digit: Character) -> String { String(repeating: digit, count: 64) }

    private func send(
        _ bytes: [UInt8], as hash: String, to files: BuildFiles, owner: String? = "k1", announced: Int? = nil
    ) async throws {
        var pieces = bytes.isEmpty ? [] : [bytes]
        try await files.receive(hash, owner: owner, announced: announced) { pieces.popLast() }
    }

    private func files(_ scratch: Scratch, limits: BuildFiles.Limits = .init()) throws -> BuildFiles {
        try BuildFiles(directory: scratch.path + "/uploads", limits: limits)
    }

    @Test("What was sent is there, for its owner only")
    func owners() async throws {
        let scratch = try Scratch()
        let files = try files(scratch)
        try await send(Self.gzip, as: hash("a"), to: files, announced: Self.gzip.count)
        #expect(try files.has(hash("a"), owner: "k1"))
        #expect(try files.open(hash("a"), owner: "k1").readAll(limit: 4096) == Self.gzip)
        #expect(try !files.has(hash("a"), owner: "k2") && !files.has(hash("a"), owner: nil))
        #expect(await code { try files.open(hash("a"), owner: "k2") } == .failedPrecondition)
        #expect(await code { try files.open("../k1/" + hash("a"), owner: "k2") } == .failedPrecondition)
    }

    @Test("What is cut off, too large or no archive is not kept")
    func refusals() async throws {
        let scratch = try Scratch()
        var limits = BuildFiles.Limits()
        limits.archiveBytes = 1000
        let files = try files(scratch, limits: limits)
        let cases: [([UInt8], Int?, MartletError.Code)] = [
            (Self.gzip, Self.gzip.count + 1, .invalidArgument), ([], nil, .invalidArgument),
            ([UInt8](repeating: 65, count: 900), nil, .invalidArgument),
            (Self.gzip + Self.gzip, nil, .tooLarge), (Self.gzip, 5000, .tooLarge),
        ]
        for (bytes, announced, expected) in cases {
            #expect(await code { try await send(bytes, as: hash("b"), to: files, announced: announced) } == expected)
        }
        #expect(
            await code { try await send(Self.gzip, as: "B" + hash("b").dropFirst(), to: files) } == .invalidArgument)
        #expect(try !files.has(hash("b"), owner: "k1"))
        let left = try FileManager.default.contentsOfDirectory(atPath: scratch.path + "/uploads/k1")
        #expect(left.isEmpty, "\(left)")
    }

    @Test("What has waited longest makes room, and what an earlier process left is removed")
    func room() async throws {
        let scratch = try Scratch()
        var limits = BuildFiles.Limits()
        limits.ownerBytes = Self.gzip.count * 2 + 10
        let files = try files(scratch, limits: limits)
        try await send(Self.gzip, as: hash("a"), to: files)
        try await send(Self.gzip, as: hash("b"), to: files)
        age(scratch.path + "/uploads/k1/" + hash("b"), bySeconds: 60)
        _ = try files.open(hash("a"), owner: "k1")
        try await send(Self.gzip, as: hash("c"), to: files)
        #expect(try files.has(hash("a"), owner: "k1") && !files.has(hash("b"), owner: "k1"))
        #expect(try files.has(hash("c"), owner: "k1"))

        try AtomicFile.write([1], to: scratch.path + "/uploads/k1/.new-u1", durable: false)
        let next = try self.files(scratch)
        #expect(access(scratch.path + "/uploads/k1/.new-u1", F_OK) != 0)
        age(scratch.path + "/uploads/k1/" + hash("c"), bySeconds: 8 * 86_400)
        next.prune()
        #expect(try next.has(hash("a"), owner: "k1") && !next.has(hash("c"), owner: "k1"))
    }

    private func age(_ path: String, bySeconds seconds: Int) {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        let then = timespec(tv_sec: now.tv_sec - seconds, tv_nsec: 0)
        utimensat(AT_FDCWD, path, [then, then], 0)
    }

    @Test("A server without a place for them takes none")
    func none() async throws {
        let files = try BuildFiles(directory: nil)
        #expect(await code { try await send(Self.gzip, as: hash("a"), to: files) } == .unsupported)
    }

    @Test("Lines are told without what moves a cursor, bounded")
    func lines() {
        var lines = LineSplitter(limit: 5)
        #expect(lines.append(Array("one\r\ntw".utf8)) == ["one"])
        #expect(lines.append(Array("o\n\n  \nlonger than five\n\u{7}x".utf8)) == ["two", "longe"])
        #expect(lines.end() == [" x"] && lines.end().isEmpty)
    }

    @Test(
        "What stands before a wildcard is what is copied",
        arguments: [
            ("a/b.txt", "a/b.txt"), ("*.txt", "."), ("a/*/c", "a"), ("./a/b", "./a/b"), ("a/{b,c}", "a"), (".", "."),
        ])
    func wildcards(source: String, base: String) { #expect(StepRunner.withoutWildcards(source) == base) }

    @Test("A recipe tells all that decides apart")
    func recipes() {
        let step = BuildStep.run(command: "a", user: nil)
        func recipe(
            owner: String? = "k", parent: String = "p", size: [Int?] = [1], _ steps: [BuildStep] = [step],
            start: String? = nil, ready: String? = nil
        ) -> String {
            BuildPlan(parent: .init(name: "x"), steps: steps, startCommand: start, readyCommand: ready)
                .recipe(owner: owner, parentDigest: parent, size: size)
        }
        let all = [
            recipe(), recipe(owner: nil), recipe(parent: "q"), recipe(size: [nil]), recipe(size: [1, nil]), recipe([]),
            recipe([.run(command: "a", user: "b")]), recipe([step, step]), recipe([.user("a")]),
            recipe([.workingDirectory("a")]), recipe(start: "a"), recipe(ready: "a"),
        ]
        #expect(Set(all).count == all.count && recipe() == recipe())
    }

    @Test("Names of templates are read with their tags")
    func references() throws {
        #expect(try TemplateReference.parse("a.b_c-D", field: "f") == .init(name: "a.b_c-D"))
        #expect(try TemplateReference.parse("a:v1", field: "f") == .init(name: "a", tag: "v1"))
        for text in ["", ":", "a:", ":b", "a:b:c", "a b", "a/b", String(repeating: "a", count: 129)] {
            #expect(throws: MartletError.self) { try TemplateReference.parse(text, field: "f") }
        }
    }
}
