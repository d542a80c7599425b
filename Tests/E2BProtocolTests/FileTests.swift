import Testing

@testable import E2BProtocol

@Suite("Signatures of files")
struct FileSignatureTests {
    // Made with the official client: get_signature("/home/user/a.txt", "read", None, "token").
    @Test("They are what the clients make")
    func known() {
        let plain = FileSignature(path: "/home/user/a.txt", operation: .read, user: "", token: "token", expires: nil)
        #expect(plain.text == "v1_9d+9NQHwSJMj04fFBbl0/qkmU2zFSlzEB4IWXDbnuNE")
        let full = FileSignature(path: "a b", operation: .write, user: "root", token: "token", expires: 1_700_000_000)
        #expect(full.text == "v1_VzaukV6xGYJSrwFpTr9JORK77ye4w1aj4KipbUpk8RY")
        #expect(FileSignature(plain.text) == plain)
    }

    @Test("Each part of what is signed counts")
    func parts() {
        let base = FileSignature(path: "/a", operation: .read, user: "u", token: "t", expires: 5)
        #expect(base == FileSignature(path: "/a", operation: .read, user: "u", token: "t", expires: 5))
        let others = [
            FileSignature(path: "/b", operation: .read, user: "u", token: "t", expires: 5),
            FileSignature(path: "/a", operation: .write, user: "u", token: "t", expires: 5),
            FileSignature(path: "/a", operation: .read, user: "", token: "t", expires: 5),
            FileSignature(path: "/a", operation: .read, user: "u", token: "T", expires: 5),
            FileSignature(path: "/a", operation: .read, user: "u", token: "t", expires: 6),
            FileSignature(path: "/a", operation: .read, user: "u", token: "t", expires: nil),
        ]
        for other in others { #expect(base != other) }
    }

    @Test(
        "What cannot be one is none",
        arguments: [
            "", "v1_", "v1_short", "v2_" + String(repeating: "A", count: 43),
            "v1_" + String(repeating: "*", count: 43), "v1_" + String(repeating: "A", count: 44),
        ])
    func malformed(text: String) {
        #expect(FileSignature(text) == nil)
    }
}

@Suite("multipart/form-data")
struct MultipartParserTests {
    private static let type = "multipart/form-data; boundary=\"x-1\""
    private static let body =
        "ignored\r\n--x-1\r\nContent-Disposition: form-data; name=\"file\"; filename=\"/home/user/ü \\\"1\\\".txt\"\r\n"
        + "Content-Type: text/plain\r\n\r\none\r\n--x-1x\r\n\r\n--x\r\n--x-1\r\n"
        + "content-disposition: form-data; name=other\r\n\r\n\r\n--x-1--\r\nafter"

    private struct Part: Equatable {
        var name: String
        var filename: String?
        var content: [UInt8] = []
        var isWhole = false
    }

    private func parts(_ body: [UInt8], cut size: Int) throws -> (parts: [Part], isComplete: Bool) {
        var parser = try MultipartParser(contentType: Self.type)
        var found: [Part] = []
        for start in stride(from: 0, to: body.count, by: size) {
            for element in try parser.append(body[start..<min(start + size, body.count)]) {
                switch element {
                case .part(let name, let filename): found.append(Part(name: name, filename: filename))
                case .data(let bytes): found[found.count - 1].content += bytes
                case .partEnd: found[found.count - 1].isWhole = true
                }
            }
        }
        return (found, parser.isComplete)
    }

    @Test("Parts come out as they were put in, however the body was cut", arguments: [1, 2, 3, 4, 5, 9, 17, 50, 1000])
    func cuts(size: Int) throws {
        let (found, isComplete) = try parts(Array(Self.body.utf8), cut: size)
        #expect(
            found == [
                Part(
                    name: "file", filename: "/home/user/ü \"1\".txt",
                    content: Array("one\r\n--x-1x\r\n\r\n--x".utf8), isWhole: true),
                Part(name: "other", filename: nil, isWhole: true),
            ])
        #expect(isComplete)
    }

    @Test("A body that ends early is not complete, and its last part not whole")
    func cutOff() throws {
        let whole = Array(Self.body.utf8)
        for length in stride(from: 0, to: whole.count - 12, by: 3) {
            let (found, isComplete) = try parts(Array(whole[..<length]), cut: 7)
            #expect(!isComplete)
            #expect(found.dropLast().allSatisfy { $0.isWhole })
        }
    }

    @Test("What is no form is refused")
    func malformed() throws {
        for type in [
            "", "text/plain", "multipart/form-data", "multipart/form-data; boundary=",
            "multipart/form-data; boundary=" + String(repeating: "x", count: 71),
        ] {
            #expect(throws: MultipartParser.Malformed.self) { try MultipartParser(contentType: type) }
        }
        func refuses(_ body: String) -> Bool { (try? parts(Array(body.utf8), cut: 5)) == nil }
        #expect(try !parts(Array("--x-1xx\r\n\r\n".utf8), cut: 5).isComplete)
        #expect(refuses("--x-1\r\nContent-Type: text/plain\r\n\r\nno name\r\n--x-1--"))
        #expect(refuses("--x-1\r\nX: " + String(repeating: "y", count: 20_000)))
    }

    @Test("Random bodies never crash it, nor give out more than they hold")
    func fuzz() throws {
        var random = SeededGenerator(seed: 99)
        let whole = Array(Self.body.utf8)
        for _ in 0..<1500 {
            var body = whole
            for _ in 0..<Int.random(in: 1...8, using: &random) {
                let place = Int.random(in: body.indices, using: &random)
                switch Int.random(in: 0..<3, using: &random) {
                case 0: body[place] = UInt8.random(in: .min ... .max, using: &random)
                case 1: body.remove(at: place)
                default: body.insert(contentsOf: "\r\n--x-1".utf8, at: place)
                }
            }
            let size = Int.random(in: 1...64, using: &random)
            guard let (found, _) = try? parts(body, cut: size) else { continue }
            #expect(found.reduce(0) { $0 + $1.content.count } <= body.count)
        }
    }
}
