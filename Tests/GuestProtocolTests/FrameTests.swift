import GuestProtocol
import Testing

@Suite struct FrameTests {
    @Test func aFrameHasItsGoldenBytes() {
        var bytes: [UInt8] = []
        Frame(stream: 0x0403_0201, kind: .data, flags: 2, payload: [0xAA, 0xBB]).encode(into: &bytes)
        #expect(hexadecimal(bytes) == "020000000102030403024d54aabb4d4c547e")
        #expect(bytes.count == 2 + Frame.overhead)
        bytes = []
        Frame.credit(stream: 1, bytes: 0x0102_0304).encode(into: &bytes)
        #expect(hexadecimal(bytes) == "040000000100000004004d54040302014d4c547e")
    }

    @Test func aMarkerHasItsGoldenBytes() {
        let bytes = SyncMarker.bytes(nonce: Array(0..<16))
        #expect(hexadecimal(bytes) == "ffffffff6d6172746c65742d73796e63000102030405060708090a0b0c0d0e0f")
        #expect(bytes.count == SyncMarker.length)
        #expect(SyncMarker.bytes(nonce: [1]).count == SyncMarker.length)
        #expect(SyncMarker.bytes(nonce: Array(0..<40)).count == SyncMarker.length)
    }

    @Test func aFullDataFrameIsOneWriteOfTheConsoleDriver() {
        var bytes: [UInt8] = []
        Frame.encode(stream: 1, kind: .data, flags: 1, into: &bytes) {
            $0.append(contentsOf: [UInt8](repeating: 0, count: Frame.dataChunk))
        }
        #expect(bytes.count == 32_768)
    }

    @Test func bothWaysOfEncodingAgreeAndAppend() {
        var one: [UInt8] = [7]
        var other: [UInt8] = [7]
        Frame(stream: 9, kind: .end, flags: 3, payload: [1, 2, 3]).encode(into: &one)
        Frame.encode(stream: 9, kind: .end, flags: 3, into: &other) { $0 += [1, 2, 3] }
        #expect(one == other)
        #expect(one.first == 7)
    }
}
