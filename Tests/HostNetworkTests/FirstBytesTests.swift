import Testing

@testable import HostNetwork

@Suite struct FirstBytesTests {
    /// What a hello of a name reads as.
    private static func hello(_ name: String?, _ maker: HelloMaker, hasEncryptedName: Bool = false) -> ClientHello {
        ClientHello(serverName: name, hasEncryptedName: hasEncryptedName, length: maker.bytes.count)
    }

    @Test func theNameOfAClientHelloIsRead() {
        let maker = HelloMaker()
        #expect(ClientHello.parse(maker.bytes + [23, 3, 3]) == .hello(Self.hello("good.test", maker)))
    }

    @Test(arguments: [1, 2, 7, 50]) func aHelloInManyRecordsIsOne(size: Int) {
        let maker = HelloMaker(recordSize: size)
        #expect(FirstBytes.classify(maker.bytes) == .tls(Self.hello("good.test", maker)))
    }

    @Test func everyPartOfAHelloIsWaitedFor() {
        for bytes in [HelloMaker().bytes, HelloMaker(recordSize: 9).bytes] {
            for count in 1..<bytes.count { #expect(FirstBytes.classify(Array(bytes.prefix(count))) == .incomplete) }
        }
    }

    @Test func aHelloWithoutANameHasNone() {
        let maker = HelloMaker(serverName: nil)
        #expect(ClientHello.parse(maker.bytes) == .hello(Self.hello(nil, maker)))
    }

    @Test(arguments: [0xfe0d, 0xffce] as [UInt16]) func anEncryptedNameIsSeen(type: UInt16) {
        let maker = HelloMaker(extraExtensions: [(type, [0, 1, 2])])
        #expect(ClientHello.parse(maker.bytes) == .hello(Self.hello("good.test", maker, hasEncryptedName: true)))
    }

    @Test(arguments: [
        HelloMaker(repeatsServerName: true), HelloMaker(handshakeType: 2), HelloMaker(serverName: ""),
        HelloMaker(serverName: "good.test\0.evil.test"), HelloMaker(serverName: "a b"),
        HelloMaker(extraExtensions: [(43, [0])]),
    ])
    func whatServersCouldReadDifferentlyIsBroken(hello: HelloMaker) {
        guard case .broken = FirstBytes.classify(hello.bytes) else {
            Issue.record("taken: \(FirstBytes.classify(hello.bytes))")
            return
        }
    }

    @Test func aHelloTooLargeIsBroken() {
        let large = HelloMaker(extraExtensions: [(99, [UInt8](repeating: 0, count: 17_000))])
        guard case .broken = FirstBytes.classify(large.bytes) else {
            Issue.record("taken")
            return
        }
        let small = HelloMaker(recordSize: 1)
        let padded = HelloMaker(extraExtensions: [(99, [UInt8](repeating: 0, count: 5000))], recordSize: 1)
        guard case .tls = FirstBytes.classify(small.bytes), case .broken = FirstBytes.classify(padded.bytes) else {
            Issue.record("taken")
            return
        }
    }

    @Test(arguments: [
        "GET / HTTP/1.1\r\n", "POST /", "\r\n\r\nGET / HTTP/1.1\r\n", "  GET / HTTP/1.1\r\n", "GET\t/ HTTP/1.1\r\n",
        "get / HTTP/1.1\r\n", "BREW /pot HTTP/1.1\r\n", "GET http://evil.test/ HTTP/1.1\r\n", "CONNECT evil.test:443 ",
        "PROPFIND /x", "GET / HTTP/1.0\n",
    ])
    func requestsAreKnownHoweverTheyLook(text: String) {
        #expect(FirstBytes.classify(Array(text.utf8)) == .http)
    }

    @Test(arguments: [
        "SSH-2.0-OpenSSH_9.2\r\n", "EHLO client\r\n", "\0\0\0\u{8}\u{4}", "*1\r\n$4\r\nPING\r\n", "get key\r\n",
        "USER anonymous\r\n", "\u{1}binary",
    ])
    func otherProtocolsAreNone(text: String) {
        #expect(FirstBytes.classify(Array(text.utf8)) == .other)
    }

    @Test func aRequestLineLongerThanIsWaitedForIsStillOne() {
        #expect(FirstBytes.classify(Array(("XGET /" + String(repeating: "a", count: 9000)).utf8)) == .http)
        #expect(FirstBytes.classify(Array(("GET /" + String(repeating: "a", count: 9000)).utf8)) == .http)
    }

    @Test func http2WithoutTLSIsKnown() {
        #expect(FirstBytes.classify(Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)) == .http2)
        #expect(FirstBytes.classify(Array("PRI * H".utf8)) == .incomplete)
    }

    @Test(arguments: 0..<10 as Range<UInt64>) func anyBytesAreClassified(seed: UInt64) {
        var random = SeededRandom(seed)
        let samples = [
            HelloMaker().bytes, HelloMaker(recordSize: 3).bytes, Array("GET / HTTP/1.1\r\nHost: a\r\n".utf8),
        ]
        for round in 0..<3000 {
            var bytes = samples[round % samples.count]
            for _ in 0..<Int.random(in: 1...5, using: &random) {
                let index = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<3, using: &random) {
                case 0: bytes[index] = .random(in: 0...255, using: &random)
                case 1: bytes.removeSubrange(index...)
                default: bytes.insert(.random(in: 0...255, using: &random), at: index)
                }
                if bytes.isEmpty { bytes = [22] }
            }
            if case .tls(let hello) = FirstBytes.classify(bytes) {
                #expect((hello.serverName ?? "-").utf8.allSatisfy { (33...126).contains($0) })
            }
        }
    }
}
