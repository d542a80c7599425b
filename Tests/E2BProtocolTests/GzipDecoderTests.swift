import Testing

@testable import E2BProtocol

@Suite("Bodies in gzip")
struct GzipDecoderTests {
    /// "hello hello hello hello\n", compressed by gzip(1) without a name.
    private let hello: [UInt8] = [
        0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x03, 0xcb, 0x48, 0xcd, 0xc9, 0xc9, 0x57, 0xc8, 0x40,
        0x27, 0xb9, 0x00, 0x00, 0x88, 0x59, 0x0b, 0x18, 0x00, 0x00, 0x00,
    ]
    private let text = Array("hello hello hello hello\n".utf8)

    private func decoded(_ pieces: [[UInt8]]) throws -> (bytes: [UInt8], isComplete: Bool) {
        let decoder = try GzipDecoder()
        var bytes: [UInt8] = []
        for piece in pieces {
            decoder.append(piece)
            while let part = try decoder.next() { bytes += part }
        }
        return (bytes, decoder.isComplete)
    }

    @Test("One comes out whole, however it is cut, and so do two behind one another")
    func whole() throws {
        #expect(try decoded([hello]) == (text, true))
        #expect(try decoded(hello.map { [$0] }) == (text, true))
        #expect(try decoded([hello + hello]) == (text + text, true))
    }

    @Test("One that is cut off is not complete")
    func cutOff() throws {
        for count in 0..<hello.count { #expect(try !decoded([Array(hello.prefix(count))]).isComplete, "\(count)") }
    }

    @Test("What is no gzip, or is damaged, is told so")
    func malformed() throws {
        #expect(throws: GzipDecoder.Malformed.self) { try decoded([Array("no gzip at all".utf8)]) }
        var damaged = hello
        damaged[damaged.count - 8] ^= 1
        #expect(throws: GzipDecoder.Malformed.self) { try decoded([damaged]) }
        #expect(throws: GzipDecoder.Malformed.self) { try decoded([hello + [1, 2, 3]]) }
    }
}
