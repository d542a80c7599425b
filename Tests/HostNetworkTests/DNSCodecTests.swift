import SandboxModel
import Testing

@testable import HostNetwork

@Suite struct DNSCodecTests {
    @Test func aQuestionIsTakenApart() throws {
        guard case .query(let query) = DNSQuery.parse(DNSClient.query("Api.Example.com", extensions: true)) else {
            Issue.record("not a query")
            return
        }
        #expect(query.name == "api.example.com" && query.type == DNSType.a && query.recordClass == 1)
        #expect(query.id == 7 && query.recursionDesired && query.hasExtensions)
    }

    @Test(
        arguments: [
            // Two questions; none; a record in the answers; a response; another operation.
            (5, 2, false), (5, 0, false), (7, 1, false), (2, 0x81, true), (2, 0x29, false),
        ] as [(Int, UInt8, Bool)])
    func whatIsNoPlainQuestionIsRefused(at: Int, value: UInt8, isIgnored: Bool) {
        var bytes = DNSClient.query("example.com")
        bytes[at] = value
        switch DNSQuery.parse(bytes) {
        case .query: Issue.record("taken for a query")
        case .ignored: #expect(isIgnored)
        case .refused(let answer):
            #expect(!isIgnored && answer.count == 12 && answer[0] == bytes[0] && answer[2] & 0x80 != 0)
        }
    }

    @Test func bytesBehindAQuestionAreRefused() {
        guard case .refused = DNSQuery.parse(DNSClient.query("example.com") + [0]) else {
            Issue.record("taken")
            return
        }
    }

    @Test(
        arguments: [
            [0xc0, 0x0c], [0xc0, 0xff], [0x01, 0x61, 0xc0, 0x0c], [0x40], [0x3f, 0x61], [0xc0], [],
        ] as [[UInt8]])
    func namesThatLoopOrEndEarlyAreRefused(name: [UInt8]) {
        var reader = DNSReader([UInt8](repeating: 0, count: 12) + name, at: 12)
        #expect(throws: DNSMalformed.self) { _ = try reader.name() }
    }

    @Test func aNameLongerThanAnyIsRefused() {
        let label = [63] + [UInt8](repeating: 97, count: 63)
        var reader = DNSReader(label + label + label + label + [0])
        #expect(throws: DNSMalformed.self) { _ = try reader.name() }
    }

    @Test func pointersBackAreFollowed() throws {
        // "b.c" at 0, "a" and a pointer to it behind.
        var reader = DNSReader([1, 98, 1, 99, 0, 1, 97, 0xc0, 0, 9], at: 5)
        #expect(try reader.name() == "a.b.c")
        #expect(reader.position == 9)
    }

    @Test func bytesNoHostHasNeverMakeAName() throws {
        var reader = DNSReader([3, 97, 46, 98, 0])
        let name = try reader.name()
        #expect(name == "a?b" && HostPattern.normalized(name) == nil)
    }

    @Test func anAnswerFitsADatagram() throws {
        guard case .query(let query) = DNSQuery.parse(DNSClient.query("example.com", extensions: true)) else { return }
        let answer = query.answer(
            .noError, addresses: Array(0..<100), seconds: 60, reason: .filtered, text: "rebinding")
        #expect(answer.count <= 512)
        let read = try DNSResponse(answer, to: "example.com", id: 7)
        #expect(read.addresses.count > 20 && read.seconds == 60)
    }

    @Test func anAliasThatLoopsIsNoAddress() throws {
        var writer = DNSWriter()
        for word in [7, 0x8180, 1, 2, 0, 0] as [UInt16] { writer.word(word) }
        writer.name("a.test")
        writer.word(DNSType.a)
        writer.word(1)
        for (name, target) in [("a.test", "b.test"), ("b.test", "a.test")] {
            writer.name(name)
            writer.word(DNSType.cname)
            writer.word(1)
            writer.long(60)
            writer.word(8)
            writer.name(target)
        }
        #expect(try DNSResponse(writer.bytes, to: "a.test", id: 7).addresses.isEmpty)
    }

    @Test func whatAZoneLacksMayBeKeptAsLongAsItSays() throws {
        var writer = DNSWriter()
        for word in [7, 0x8183, 1, 0, 1, 0] as [UInt16] { writer.word(word) }
        writer.name("a.test")
        writer.word(DNSType.a)
        writer.word(1)
        writer.name("test")
        writer.word(DNSType.soa)
        writer.word(1)
        writer.long(900)
        writer.word(26)
        writer.name("n.t")
        writer.byte(0)
        for number in [1, 2, 3, 4, 20] as [UInt32] { writer.long(number) }
        let response = try DNSResponse(writer.bytes, to: "a.test", id: 7)
        #expect(response.code == .noSuchName && response.seconds == 20)
    }

    /// Whatever comes is read to an end, or refused: never past the end, never for ever.
    @Test(arguments: 0..<20 as Range<UInt64>) func anyBytesAreRead(seed: UInt64) {
        var random = SeededRandom(seed)
        guard case .query(let query) = DNSQuery.parse(DNSClient.query("fuzz.example.com", extensions: true)) else {
            return
        }
        let answer = query.answer(.noError, addresses: [1, 2, 3], seconds: 5)
        for round in 0..<4000 {
            var bytes = round % 2 == 0 ? DNSClient.query("fuzz.example.com", extensions: true) : answer
            for _ in 0..<Int.random(in: 1...6, using: &random) {
                switch Int.random(in: 0..<4, using: &random) {
                case 0 where !bytes.isEmpty:
                    bytes[Int.random(in: 0..<bytes.count, using: &random)] = .random(in: 0...255, using: &random)
                case 1: bytes = Array(bytes.prefix(Int.random(in: 0...bytes.count, using: &random)))
                case 2: bytes.insert(0xc0, at: Int.random(in: 0...bytes.count, using: &random))
                default:
                    bytes += (0..<Int.random(in: 0..<20, using: &random)).map { _ in
                        .random(in: 0...255, using: &random)
                    }
                }
            }
            if case .query(let parsed) = DNSQuery.parse(bytes) {
                #expect(parsed.question.count <= 259 && parsed.answer(.noError, addresses: [1]).count <= 512)
            }
            if let parsed = try? DNSResponse(bytes, to: "fuzz.example.com", id: 7) {
                #expect(parsed.addresses.count <= DNSResponse.maxAddresses)
            }
        }
    }
}

/// Random numbers that are the same in every run (SplitMix64, Steele, Lea and Flood 2014).
struct SeededRandom: RandomNumberGenerator {
    private var state: UInt64

    init(_ seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ mixed >> 30) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ mixed >> 27) &* 0x94d0_49bb_1331_11eb
        return mixed ^ mixed >> 31
    }
}
