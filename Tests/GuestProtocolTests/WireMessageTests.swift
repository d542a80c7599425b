import GuestProtocol
import Testing

@Suite struct WireMessageTests {
    /// The contract: a message's bytes never change, since host and guest may be of different builds.
    @Test(arguments: Sample.all)
    func everyMessageHasItsGoldenBytes(_ sample: Sample) throws {
        #expect(hexadecimal(sample.encoded) == Golden.messages[sample.name])
        #expect(try sample.matches(sample.encoded))
    }

    @Test func noGoldenBytesAreLeftOver() {
        #expect(Set(Golden.messages.keys) == Set(Sample.all.map(\.name)))
    }

    @Test func operationsAndKindsKeepTheirNumbers() {
        #expect(Operation.allCases.map(\.rawValue) == Array(1...7) + Array(16...24) + Array(32...40) + [48])
        #expect(Frame.Kind.allCases.map(\.rawValue) == Array(1...7))
        #expect(OutputChannel.allCases.map(\.rawValue) == [1, 2])
        #expect(GuestFailure.Code.allCases.map(\.rawValue) == Array(0...16))
        #expect(FileEvent.Kind.allCases.map(\.rawValue) == Array(1...6))
        #expect(FileKind.allCases.map(\.rawValue) == Array(0...3))
        #expect(ConnectionEvent.Kind.allCases.map(\.rawValue) == [1, 2])
        #expect(AttachMode.allCases.map(\.rawValue) == Array(0...2))
    }

    @Test(arguments: Sample.all)
    func aMessageCutOffAnywhereIsRefused(_ sample: Sample) {
        guard sample.hasFixedEnd else { return }
        for length in 0..<sample.encoded.count - sample.addedLater {
            #expect(throws: WireError.self) { try sample.matches(Array(sample.encoded.prefix(length))) }
        }
    }

    /// What agents and daemons of the first release send, which know nothing of the later fields.
    @Test func whatAnOlderPeerDoesNotSendHasItsDefault() throws {
        let thaw = Thaw(
            wallClockNanoseconds: 1, entropy: [2], hostname: "h", machineID: "m", environment: ["A=1"], diskBytes: 3,
            user: "u")
        #expect(try Thaw(decoding: Array(thaw.encoded.dropLast(8))) == thaw)
        let thawed = try Thawed(decoding: [1, 1, 1, 1])
        #expect(thawed.connectionsDropped && thawed.hostKeysRenewed && thawed.isComplete)
        #expect(try !Thawed(decoding: [1, 1, 0, 1]).isComplete)
        // A peer of an age between the two sends some of them.
        var all = thaw
        all.keepsIdentity = true
        all.keepsEnvironment = true
        all.dropsConnections = true
        all.renewsHostKeys = true
        let some = try Thaw(decoding: Array(all.encoded.dropLast(6)))
        #expect(some.keepsIdentity && some.keepsEnvironment)
        #expect(!some.dropsConnections && !some.renewsHostKeys && some.trustedCertificate.isEmpty)
    }

    @Test func labelsOfFilesAreForThoseWhoKnowThem() throws {
        var info = FileInfo(
            path: "/f", kind: .file, size: 1, mode: 0o644, uid: 0, gid: 0, modifiedMilliseconds: 2)
        #expect(try FileInfo(decodingWithLabels: info.encoded) == info)
        info.labels = ["a=b", "c="]
        #expect(try FileInfo(decodingWithLabels: info.withLabels) == info)
        #expect(try FileInfo(decoding: info.withLabels).labels.isEmpty)
        let write = WriteFile(path: "/w", mode: 0o600, owner: "o")
        #expect(try WriteFile(decoding: Array(write.encoded.dropLast(4))) == write)
    }

    @Test func aThawIsCompleteOnlyWithAllOfIt() throws {
        for missing in 0..<7 {
            let bytes = (0..<7).map { UInt8($0 == missing ? 0 : 1) }
            #expect(try !Thawed(decoding: bytes).isComplete)
        }
        #expect(try Thawed(decoding: [1, 1, 1, 1, 1, 1, 1]).isComplete)
    }

    @Test(arguments: Sample.all)
    func whatANewerPeerAddsAtTheEndIsAllowed(_ sample: Sample) throws {
        guard sample.hasFixedEnd else { return }
        #expect(try sample.matches(sample.encoded + [1, 2, 3]))
    }

    /// Whatever the bytes: a value or an error, never a trap, and a value that was read is written so that it is
    /// read the same again.
    @Test(arguments: Sample.all)
    func hostileBytesAreAValueOrAnError(_ sample: Sample) throws {
        var random = SplitMix(state: sample.name.utf8.reduce(7) { $0 &* 31 &+ UInt64($1) })
        for round in 0..<3000 {
            var bytes = sample.encoded
            if round % 4 == 0 {
                bytes = (0..<Int.random(in: 0..<200, using: &random)).map { _ in .random(in: 0...255, using: &random) }
            }
            for _ in 0..<Int.random(in: 0..<6, using: &random) where !bytes.isEmpty {
                let index = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<4, using: &random) {
                case 0: bytes[index] = .random(in: 0...255, using: &random)
                case 1: bytes[index] = 255
                case 2: bytes.remove(at: index)
                default: bytes.insert(.random(in: 0...255, using: &random), at: index)
                }
            }
            guard let again = try? sample.roundTrip(bytes) else { continue }
            #expect(try sample.roundTrip(again) == again)
        }
    }

    @Test func lengthsThatPromiseTooMuchAreRefusedBeforeAnythingIsAllocated() {
        for count: UInt32 in [.max, .max / 2, 1 << 30] {
            var writer = WireWriter()
            writer.u32(count)
            let bytes = writer.bytes + [UInt8](repeating: 0, count: 64)
            #expect(throws: WireError.self) { try ProcessList(decoding: bytes) }
            #expect(throws: WireError.self) { try StartProcess(decoding: bytes) }
            #expect(throws: WireError.self) { try FileReference(decoding: bytes) }
        }
    }

    @Test func bytesThatAreNotUTF8AreReplaced() throws {
        let path = try FileReference(decoding: [3, 0, 0, 0, 97, 0xFF, 98]).path
        #expect(path == "a\u{FFFD}b")
    }
}
