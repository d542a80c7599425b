import Testing

@testable import MartletClient

@Suite struct ServerSentEventParserTests {
    private func parse(_ pieces: [[UInt8]], limit: Int = 1 << 20) throws -> [ServerSentEvent] {
        var parser = ServerSentEventParser(limit: limit)
        var events: [ServerSentEvent] = []
        for piece in pieces { try piece.withUnsafeBytes { try parser.feed($0) { events.append($0) } } }
        return events
    }

    private func parse(_ text: String) throws -> [ServerSentEvent] { try parse([Array(text.utf8)]) }

    @Test func readsNameDataAndID() throws {
        let events = try parse("id: 7\nevent: stdout\ndata: {\"a\":1}\n\n")
        #expect(events == [ServerSentEvent(name: "stdout", data: Array("{\"a\":1}".utf8), id: "7")])
    }

    @Test func takesEveryKindOfLineEnd() throws {
        for end in ["\n", "\r", "\r\n"] {
            let events = try parse("event: a\(end)data: x\(end)data: y\(end)\(end)data: z\(end)\(end)")
            #expect(events.map(\.name) == ["a", "message"])
            #expect(events.map { String(decoding: $0.data, as: UTF8.self) } == ["x\ny", "z"])
        }
    }

    @Test func leavesOutCommentsEmptyEventsAndTheByteOrderMark() throws {
        let events = try parse("\u{FEFF}data: 1\n\n: alive\n\nevent: nothing\n\ndata\n\ndata:2\n\n")
        #expect(events.map { String(decoding: $0.data, as: UTF8.self) } == ["1", "", "2"])
        #expect(events.allSatisfy { $0.name == "message" })
    }

    @Test func anEventThatIsNotCompleteIsNotGivenOut() throws {
        #expect(try parse("data: 1\n").isEmpty)
    }

    @Test func cutAnywhereItGivesTheSame() throws {
        let stream = Array("\u{FEFF}id: 1\r\nevent: stdout\r\ndata: a\rdata: b\n\r\n: c\n\ndata: d\r\n\r\n".utf8)
        let whole = try parse([stream])
        #expect(whole.count == 2)
        for cut in 0...stream.count {
            #expect(try parse([Array(stream[..<cut]), Array(stream[cut...])]) == whole, "cut at \(cut)")
        }
        #expect(try parse(stream.map { [$0] }) == whole)
    }

    @Test func aLineOrEventOverTheLimitIsRefused() {
        #expect(throws: (any Error).self) {
            try parse([Array(("data: " + String(repeating: "x", count: 200)).utf8)], limit: 100)
        }
        #expect(throws: (any Error).self) {
            try parse([Array(String(repeating: "data: xxxxxxxxxxxxxxxxxxxx\n", count: 10).utf8)], limit: 100)
        }
    }

    /// Arbitrary bytes, cut arbitrarily: the same events as in one piece, and never more held than the limit.
    @Test(arguments: 0..<200) func arbitraryBytesGiveTheSameHoweverTheyAreCut(seed: UInt64) throws {
        var random = SplitMix(state: seed)
        let alphabet = Array("data: event: id:\n\n\r\r\n:xyz\u{FEFF}".utf8) + [0, 255]
        let stream = (0..<random.below(400)).map { _ in alphabet[random.below(alphabet.count)] }
        let whole = try parse([stream])
        var pieces: [[UInt8]] = []
        var rest = stream[...]
        while !rest.isEmpty {
            let count = 1 + random.below(9)
            pieces.append(Array(rest.prefix(count)))
            rest = rest.dropFirst(count)
        }
        #expect(try parse(pieces) == whole)
    }
}

/// A generator with a fixed seed (Steele, Lea and Flood's SplitMix64).
struct SplitMix {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    mutating func below(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }
}
