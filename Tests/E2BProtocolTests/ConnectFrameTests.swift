import Testing

@testable import E2BProtocol

@Suite("Frames of the Connect protocol")
struct ConnectFrameTests {
    @Test("A frame is its flags, its length in big-endian order, and its payload")
    func encoding() {
        #expect(ConnectFrame(payload: Array("{}".utf8)).encoded == [0, 0, 0, 0, 2, 0x7B, 0x7D])
        #expect(ConnectFrame.end(Array("{}".utf8)).encoded == [2, 0, 0, 0, 2, 0x7B, 0x7D])
        let large = ConnectFrame(payload: Array(repeating: 1, count: 0x01_02_03)).encoded
        #expect(Array(large.prefix(5)) == [0, 0, 1, 2, 3] && large.count == 0x01_02_03 + 5)
    }

    @Test("What was framed comes out again, however it was cut", arguments: [1, 2, 3, 5, 7, 64, 1000])
    func cuts(size: Int) throws {
        let payloads: [[UInt8]] = [[], [1], Array(repeating: 7, count: 300), Array("{\"a\":1}".utf8)]
        let stream = payloads.flatMap { ConnectFrame(payload: $0).encoded }
        var decoder = ConnectFrameDecoder()
        var found: [[UInt8]] = []
        for start in stride(from: 0, to: stream.count, by: size) {
            decoder.append(stream[start..<min(start + size, stream.count)])
            while let frame = try decoder.next() { found.append(frame.payload) }
        }
        #expect(found == payloads)
        #expect(!decoder.isInsideFrame)
    }

    @Test("A frame that is too large, compressed, or of a response is refused before its payload is there")
    func refusals() throws {
        func refusal(_ head: [UInt8], maxPayload: Int = 100) -> ConnectError.Code? {
            var decoder = ConnectFrameDecoder(maxPayload: maxPayload)
            decoder.append(head)
            do throws(ConnectError) {
                _ = try decoder.next()
                return nil
            } catch { return error.code }
        }
        #expect(refusal([0, 0, 0, 0, 101]) == .resourceExhausted)
        #expect(refusal([0, 0xFF, 0xFF, 0xFF, 0xFF]) == .resourceExhausted)
        #expect(refusal([1, 0, 0, 0, 1]) == .unimplemented)
        #expect(refusal([2, 0, 0, 0, 0]) == .invalidArgument)
        #expect(refusal([0x80, 0, 0, 0, 0]) == .invalidArgument)
        #expect(refusal([0, 0, 0, 0, 100]) == nil)
    }

    @Test("No bytes make the decoder crash, hold more than one frame, or make up a frame")
    func fuzz() throws {
        var random = SeededGenerator(seed: 0xE2B)
        for _ in 0..<3000 {
            var decoder = ConnectFrameDecoder(maxPayload: 64)
            var given = 0
            var taken = 0
            var isBroken = false
            while given < 400, !isBroken {
                let piece = (0..<Int.random(in: 0...40, using: &random)).map { _ -> UInt8 in
                    // Small numbers, so that heads are often right.
                    Bool.random(using: &random) ? 0 : UInt8.random(in: 0...70, using: &random)
                }
                given += piece.count + 1
                decoder.append(piece)
                do {
                    while let frame = try decoder.next() {
                        taken += ConnectFrame.headLength + frame.payload.count
                        #expect(frame.payload.count <= 64 && frame.flags == 0)
                    }
                } catch { isBroken = true }
            }
            #expect(taken <= given)
        }
    }

    @Test("Messages that are no JSON, or not of their type, are invalid arguments that say where")
    func messages() throws {
        func refusal<M: Decodable>(_ type: M.Type, _ text: String) -> ConnectError? {
            do throws(ConnectError) {
                _ = try ProtoJSON.decode(type, from: Array(text.utf8))
                return nil
            } catch { return error }
        }
        #expect(refusal(StartRequest.self, "{")?.code == .invalidArgument)
        #expect(refusal(StartRequest.self, #"{"process":{"cmd":5}}"#)?.message.contains("process.cmd") == true)
        #expect(refusal(SendInputRequest.self, #"{"input":{"stdin":"*"}}"#)?.code == .invalidArgument)
        #expect(refusal(StartRequest.self, #"{"process":{"cmd":"x"},"later":[1]}"#) == nil)
        #expect(refusal(PathRequest.self, "") == nil)
    }

    @Test("Random bytes as messages are refused or read, and nothing else")
    func messageFuzz() {
        var random = SeededGenerator(seed: 7)
        let seeds = [
            #"{"process":{"cmd":"/bin/bash","args":["-l"],"envs":{"A":"1"},"cwd":"/"},"stdin":false,"pty":{"size":{"cols":80}}}"#,
            #"{"process":{"pid":42},"input":{"stdin":"eW8K"}}"#, #"{"start":{"process":{"tag":"x"}}}"#,
        ].map { Array($0.utf8) }
        for _ in 0..<3000 {
            var bytes = seeds.randomElement(using: &random) ?? []
            for _ in 0..<Int.random(in: 1...6, using: &random) {
                let place = bytes.indices.randomElement(using: &random) ?? 0
                bytes[place] = UInt8.random(in: .min ... .max, using: &random)
            }
            do {
                _ = try ProtoJSON.decode(StartRequest.self, from: bytes)
                _ = try ProtoJSON.decode(SendInputRequest.self, from: bytes)
                _ = try ProtoJSON.decode(StreamInputRequest.self, from: bytes)
            } catch { #expect(error.code == .invalidArgument) }
        }
    }
}

/// The same numbers in every run: SplitMix64 (Steele, Lea, Flood, 2014).
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
