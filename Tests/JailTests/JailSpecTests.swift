import Testing

@testable import Jail

@Suite struct JailSpecTests {
    private var spec: JailSpec {
        var spec = JailSpec(
            root: "/r", uid: 70_001, gid: 70_002, hostname: "martlet", program: "/bin/true", arguments: ["true", ""])
        spec.binds = [.init("/a b", at: "/x", isWritable: true), .init("/dev/null", at: "/dev/null", hasDevices: true)]
        spec.limits = [.init(.openFiles, 1 << 40)]
        spec.filter = [0, 1, 2, 255]
        spec.environment = ["A=é", "B="]
        return spec
    }

    @Test func `what was written is read`() throws {
        #expect(try JailSpec(decoding: spec.encoded()) == spec)
    }

    @Test func `a spec that is cut off anywhere, or says too little, is none`() throws {
        let bytes = try spec.encoded()
        var whole = 0
        for end in 0..<bytes.count where (try? JailSpec(decoding: Array(bytes.prefix(end)))) != nil { whole += 1 }
        // Only the ends of the fields after the last needed one, which lists may have: the program's arguments and
        // environment.
        #expect(whole == 4)
    }

    @Test func `garbage is refused, and never crashes`() {
        var state: UInt64 = 42
        for _ in 0..<20_000 {
            var bytes: [UInt8] = []
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            for _ in 0..<Int(state >> 58) {
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                bytes.append(UInt8(truncatingIfNeeded: state >> 40) & (state >> 60 < 8 ? 0x0f : 0xff))
            }
            #expect(throws: JailFailure.self) { try JailSpec(decoding: bytes) }
        }
    }

    @Test func `one that would not fit the pipe is refused`() {
        var spec = spec
        spec.environment = [String(repeating: "x", count: JailSpec.maxBytes)]
        #expect(throws: JailFailure.self) { try spec.encoded() }
    }
}
