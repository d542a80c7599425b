import GuestProtocol
import Testing

@Suite struct FrameDecoderTests {
    private static let nonce = [UInt8](repeating: 5, count: SyncMarker.nonceLength)

    @Test(arguments: [1, 2, 3, 4, 5] as [UInt64])
    func framesSurviveAnySplit(_ seed: UInt64) {
        var random = SplitMix(state: seed)
        let frames = (0..<200).map { _ in randomFrame(&random) }
        var bytes: [UInt8] = []
        for frame in frames { frame.encode(into: &bytes) }
        var decoder = FrameDecoder()
        var found: [FrameDecoder.Item] = []
        feed(bytes, to: &decoder, &random) { found.append($0) }
        #expect(found == frames.map { .frame($0) })
        #expect(decoder.pendingBytes == 0)
    }

    @Test func nothingIsBelievedBeforeTheFirstMarker() {
        var decoder = FrameDecoder(hunting: true)
        decoder.append(encoded(Frame(stream: 1, kind: .end)))
        #expect(decoder.next() == nil)
        decoder.append(SyncMarker.bytes(nonce: Self.nonce) + encoded(Frame(stream: 2, kind: .end)))
        #expect(decoder.next() == .sync(nonce: Self.nonce))
        #expect(decoder.next() == .frame(Frame(stream: 2, kind: .end)))
        #expect(decoder.next() == nil)
    }

    /// A sender that died anywhere in a frame, and one that took over from it.
    @Test func aCutOffFrameIsFoundOutByTheFlush() {
        let whole = encoded(Frame(stream: 1, kind: .data, payload: [UInt8](repeating: 0, count: 300)))
        for cut in 0..<whole.count {
            var decoder = FrameDecoder()
            decoder.append(Array(whole.prefix(cut)))
            decoder.append([UInt8](repeating: 0, count: SyncMarker.flushLength))
            decoder.append(SyncMarker.bytes(nonce: Self.nonce))
            decoder.append(encoded(Frame(stream: 2, kind: .end)))
            var items: [FrameDecoder.Item] = []
            while let item = decoder.next() { items.append(item) }
            #expect(items == [.lost, .sync(nonce: Self.nonce), .frame(Frame(stream: 2, kind: .end))], "cut at \(cut)")
        }
    }

    @Test func aCutOffFrameOfTheLargestLengthIsFoundOutToo() {
        let whole = encoded(
            Frame(stream: 1, kind: .data, payload: [UInt8](repeating: 0, count: Frame.maxPayload)))
        for cut in [1, 4, 11, 12, 13, 40_000, whole.count - 4, whole.count - 1] {
            var decoder = FrameDecoder()
            decoder.append(Array(whole.prefix(cut)))
            decoder.append([UInt8](repeating: 0, count: SyncMarker.flushLength))
            decoder.append(SyncMarker.bytes(nonce: Self.nonce))
            var last: FrameDecoder.Item?
            while let item = decoder.next() { last = item }
            #expect(last == .sync(nonce: Self.nonce), "cut at \(cut)")
        }
    }

    /// A program's output may hold a marker, and after it the head of a frame that would swallow the true one.
    @Test func aHuntForOneMarkerPassesOthersBy() {
        let other = SyncMarker.bytes(nonce: [UInt8](repeating: 6, count: SyncMarker.nonceLength))
        let head = encoded(Frame(stream: 1, kind: .data, payload: [UInt8](repeating: 0, count: 60_000))).prefix(12)
        let good = Frame(stream: 2, kind: .end)
        for lead in 0..<40 {
            var decoder = FrameDecoder(hunting: true, nonce: Self.nonce)
            decoder.append([UInt8](repeating: 0, count: lead) + other + head)
            #expect(decoder.next() == nil)
            decoder.append(SyncMarker.bytes(nonce: Self.nonce) + encoded(good))
            #expect(decoder.next() == .sync(nonce: Self.nonce))
            #expect(decoder.next() == .frame(good))
        }
    }

    @Test func everyViolationStartsAHunt() {
        let good = encoded(Frame(stream: 1, kind: .data, payload: [1, 2, 3]))
        var broken: [[UInt8]] = []
        for index in [3, 8, 10, 11, 15, 18] {
            var bytes = good
            bytes[index] ^= 0x40
            broken.append(bytes)
        }
        broken.append([1, 0, 1, 0] + [UInt8](repeating: 0, count: 20))
        broken.append([0xFF, 0xFF, 0xFF, 0xFF] + [UInt8](repeating: 1, count: 28))
        for bytes in broken {
            var decoder = FrameDecoder()
            decoder.append(bytes)
            #expect(decoder.next() == .lost, "\(bytes)")
            decoder.append(good)
            #expect(decoder.next() == nil)
            decoder.append(SyncMarker.bytes(nonce: Self.nonce) + good)
            #expect(decoder.next() == .sync(nonce: Self.nonce))
            #expect(decoder.next() == .frame(Frame(stream: 1, kind: .data, payload: [1, 2, 3])))
        }
    }

    /// Whatever comes: no trap, no growth, and a marker always puts things right.
    @Test(arguments: Array(1...20) as [UInt64])
    func rubbishNeverTrapsNorGrowsAndAMarkerHelps(_ seed: UInt64) {
        var random = SplitMix(state: seed)
        var decoder = FrameDecoder(hunting: seed % 2 == 0)
        var bytes: [UInt8] = []
        for _ in 0..<60 {
            switch Int.random(in: 0..<5, using: &random) {
            case 0:
                bytes += (0..<Int.random(in: 0..<3000, using: &random)).map { _ in .random(in: 0...255, using: &random)
                }
            case 1:
                bytes += SyncMarker.bytes(nonce: Self.nonce).prefix(.random(in: 0...SyncMarker.length, using: &random))
            case 2: bytes += [UInt8](repeating: 0xFF, count: .random(in: 0..<70, using: &random))
            case 3:
                var frame = encoded(randomFrame(&random))
                frame[.random(in: 0..<frame.count, using: &random)] = .random(in: 0...255, using: &random)
                bytes += frame
            default: bytes += encoded(randomFrame(&random))
            }
        }
        var largest = 0
        feed(bytes, to: &decoder, &random, held: { largest = max(largest, $0) }) { _ in }
        #expect(largest <= Frame.maxPayload + Frame.overhead + 5000)
        decoder.append([UInt8](repeating: 0, count: SyncMarker.flushLength))
        decoder.append(SyncMarker.bytes(nonce: Self.nonce) + encoded(Frame(stream: 3, kind: .end)))
        var last: [FrameDecoder.Item] = []
        while let item = decoder.next() { last = last.suffix(1) + [item] }
        #expect(last == [.sync(nonce: Self.nonce), .frame(Frame(stream: 3, kind: .end))])
    }

    private func feed(
        _ bytes: [UInt8], to decoder: inout FrameDecoder, _ random: inout SplitMix, held: (Int) -> Void = { _ in },
        _ found: (FrameDecoder.Item) -> Void
    ) {
        var offset = 0
        while offset < bytes.count {
            let count = min(bytes.count - offset, .random(in: 1..<5000, using: &random))
            decoder.append(bytes[offset..<offset + count])
            offset += count
            while let item = decoder.next() { found(item) }
            held(decoder.pendingBytes)
        }
    }

    private func randomFrame(_ random: inout SplitMix) -> Frame {
        let kinds = Frame.Kind.allCases
        return Frame(
            stream: .random(in: 0 ... .max, using: &random), kind: kinds[.random(in: 0..<kinds.count, using: &random)],
            flags: .random(in: 0...255, using: &random),
            payload: (0..<Int.random(in: 0..<400, using: &random)).map { _ in .random(in: 0...255, using: &random) })
    }

    private func encoded(_ frame: Frame) -> [UInt8] {
        var bytes: [UInt8] = []
        frame.encode(into: &bytes)
        return bytes
    }
}
