import NIOCore
import NIOSSL
import SandboxModel
import Testing

@testable import HostNetwork

/// Connections that names decide over, but for what is inside HTTP.
@Suite(.serialized, .timeLimit(.minutes(2))) struct ProxyNamesTests {
    private static let good = "20.0.0.1"

    /// A rig in which `good.test` may be reached, and stands for a server that repeats nothing but waits to be told.
    private static func with(
        _ network: SandboxNetwork = Networks.allow("good.test:80,443,7000", "other.test"), port: UInt16 = 443,
        _ body: (ProxyRig, PeerServer) async throws -> Void
    ) async throws {
        let server = try await PeerServer.start()
        try await ProxyRig.with(network) { rig in
            try await rig.place("good.test", good, ports: [port: server.port])
            try await body(rig, server)
        }
        await server.stop()
    }

    private static func expectRefusal(
        of bytes: [UInt8], address: String = good, port: UInt16 = 443, network: SandboxNetwork? = nil, _ rule: String,
        name: String?
    ) async throws {
        try await with(network ?? Networks.allow("good.test:80,443,7000", "other.test"), port: port) { rig, _ in
            let peer = try await rig.connect(address, port)
            if !bytes.isEmpty { try? await peer.send(bytes) }
            let end = try await peer.readToEnd()
            #expect(end.bytes.isEmpty && end.ending == .reset)
            #expect(rig.world.denials.map(\.rule) == [rule])
            #expect(rig.world.denials.first?.name == name)
            #expect(rig.world.denials.first?.address == address && rig.world.denials.first?.port == port)
            #expect(rig.world.connected.isEmpty)
        }
    }

    @Test func tlsToAnAllowedNamePassesUntouched() async throws {
        try await Self.with { rig, server in
            let peer = try await rig.connect(Self.good, 443)
            let hello = HelloMaker(recordSize: 40).bytes
            try await peer.send(Array(hello.prefix(30)))
            try await peer.send(Array(hello.dropFirst(30)) + [1, 2, 3])
            let upstream = try await server.accept()
            let received = try await upstream.read(hello.count)
            #expect(received == hello)
            let answer: [UInt8] = [22, 3, 3, 0, 50, 2, 0, 0, 46] + [UInt8](repeating: 3, count: 46)
            try await upstream.send(answer)
            let passed = try await peer.read(answer.count)
            #expect(passed == answer)
            // What the client sent behind its first message has waited for the answer.
            let behind = try await upstream.read(3)
            #expect(behind == [1, 2, 3])
            #expect(rig.world.denials.isEmpty)
            await peer.close()
        }
    }

    @Test func aRealHandshakeGoesThroughWithHTTP2() async throws {
        let tls = try TestTLS()
        try await Self.with { rig, _ in
            let server = try await PeerServer.start(
                tls: tls.server("good.test", protocols: ["h2", "http/1.1"]))
            rig.world.map(Self.good, 443, to: server.port)
            let peer = try await rig.connect(Self.good, 443)
            try await peer.secure(tls.client("good.test", protocols: ["h2", "http/1.1"]))
            try await peer.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            let upstream = try await server.accept()
            let preface = try await upstream.read(through: "SM\r\n\r\n")
            #expect(preface.hasPrefix("PRI * HTTP/2.0"))
            #expect(peer.negotiated == "h2" && upstream.negotiated == "h2")
            await peer.close()
            await server.stop()
        }
    }

    @Test func aDirectAddressIsRefused() async throws {
        try await Self.expectRefusal(
            of: HelloMaker().bytes, address: "20.9.9.9", "address-not-allowed", name: nil)
    }

    @Test func aBlockedAddressIsRefused() async throws {
        try await Self.expectRefusal(of: [], address: "169.254.169.254", port: 80, "blocked-address", name: nil)
    }

    @Test func anotherNameThanTheAddressStandsForIsRefused() async throws {
        try await Self.expectRefusal(
            of: HelloMaker(serverName: "other.test").bytes, "host-mismatch", name: "other.test")
        try await Self.expectRefusal(
            of: HelloMaker(serverName: "evil.test").bytes, "host-not-allowed", name: "evil.test")
    }

    @Test func aNameThatIsNoneIsRefused() async throws {
        try await Self.expectRefusal(of: HelloMaker(serverName: Self.good).bytes, "host-not-allowed", name: Self.good)
    }

    @Test func tlsWithoutANameIsRefused() async throws {
        try await Self.expectRefusal(of: HelloMaker(serverName: nil).bytes, "no-sni", name: nil)
    }

    @Test func anEncryptedNameIsRefused() async throws {
        try await Self.expectRefusal(
            of: HelloMaker(extraExtensions: [(0xfe0d, [0])]).bytes, "encrypted-sni", name: "good.test")
    }

    @Test(
        arguments: [
            Array("GET / HTTP/1.1\r\nHost: good.test\r\n\r\n".utf8), Array("SSH-2.0-x\r\n".utf8),
            Array("PRI * HTTP/2.0\r\n\r\n".utf8), HelloMaker(repeatsServerName: true).bytes, [0x80, 0x2e, 1, 0, 2],
        ] as [[UInt8]])
    func whatIsNotTLSIsRefusedOnItsPort(bytes: [UInt8]) async throws {
        try await Self.expectRefusal(of: bytes, "not-tls", name: nil)
    }

    @Test(arguments: ["SSH-2.0-x\r\n", "\u{1}\u{2}", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"])
    func whatIsNotHTTPIsRefusedOnItsPort(text: String) async throws {
        try await Self.expectRefusal(of: Array(text.utf8), port: 80, "not-http", name: nil)
    }

    /// A server's request to begin again, as it is on the wire.
    private static let retry: [UInt8] =
        [22, 3, 3, 0, 42, 2, 0, 0, 38, 3, 3]
        + [
            0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2,
            0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
        ] + [0, 0x13, 1, 0]

    /// Whoever begins again is held to the name it began with, however early it sends that.
    @Test(arguments: [true, false]) func aSecondHelloWithAnotherNameIsRefused(isEarly: Bool) async throws {
        try await Self.with { rig, server in
            let first = HelloMaker().bytes
            let second: [UInt8] = [20, 3, 3, 0, 1, 1] + HelloMaker(serverName: "other.test", recordSize: 50).bytes
            let peer = try await rig.connect(Self.good, 443)
            try await peer.send(isEarly ? first + second : first)
            let upstream = try await server.accept()
            let received = try await upstream.read(first.count)
            #expect(received == first)
            try await upstream.send(Self.retry)
            let asked = try await peer.read(Self.retry.count)
            #expect(asked.isEmpty || asked == Self.retry)
            if !isEarly { try await peer.send(second) }
            let end = try await peer.readToEnd()
            #expect(end.ending == .reset && rig.world.refusals == ["host-mismatch other.test"])
            let rest = try await upstream.readToEnd()
            #expect(rest.bytes.isEmpty)
        }
    }

    @Test(arguments: [true, false]) func aSecondHelloWithTheSameNamePasses(isEarly: Bool) async throws {
        try await Self.with { rig, server in
            let first = HelloMaker().bytes
            let second: [UInt8] = [23, 3, 3, 0, 2, 9, 9] + HelloMaker(recordSize: 50).bytes + [20, 3, 3, 0, 1, 1]
            let peer = try await rig.connect(Self.good, 443)
            try await peer.send(isEarly ? first + second : first)
            let upstream = try await server.accept()
            _ = try await upstream.read(first.count)
            // In pieces: it is waited for as a whole.
            try await upstream.send(Array(Self.retry.prefix(20)))
            try await upstream.send(Array(Self.retry.dropFirst(20)))
            _ = try await peer.read(Self.retry.count)
            if !isEarly { try await peer.send(second) }
            let received = try await upstream.read(second.count)
            #expect(received == second)
            try await peer.send("more")
            let more = try await upstream.read(4)
            #expect(more == Array("more".utf8))
            await peer.close()
        }
    }

    @Test func aPortThatNoRuleNamesIsRefused() async throws {
        try await Self.expectRefusal(of: [], port: 22, "port-not-allowed", name: "good.test")
    }

    @Test func aNameNoLongerAllowedIsRefusedThoughItWasLookedUp() async throws {
        try await Self.with { rig, _ in
            try await rig.proxy.apply(Networks.allow("other.test"))
            let peer = try await rig.connect(Self.good, 443)
            let end = try await peer.readToEnd()
            #expect(end.ending == .reset && rig.world.refusals == ["address-not-allowed -"])
        }
    }

    @Test func serversSpeakFirstOnPortsThatAreNamed() async throws {
        try await Self.with(port: 7000) { rig, server in
            let peer = try await rig.connect(Self.good, 7000)
            let upstream = try await server.accept()
            try await upstream.send("220 ready\r\n")
            let greeting = try await peer.read(through: "\r\n")
            #expect(greeting == "220 ready\r\n")
            try await peer.send("EHLO me\r\n")
            let answer = try await upstream.read(through: "\r\n")
            #expect(answer == "EHLO me\r\n")
            try await peer.endSending()
            let rest = try await upstream.readToEnd()
            #expect(rest.ending == .end)
            try await upstream.send("still here")
            try await upstream.endSending()
            let last = try await peer.textToEnd()
            #expect(last == "still here")
        }
    }

    @Test func onPortsThatAreNamedTLSAndHTTPAreStillHeldToNames() async throws {
        try await Self.with(port: 7000) { rig, server in
            let peer = try await rig.connect(Self.good, 7000)
            _ = try await server.accept()
            try await peer.send(HelloMaker(serverName: "evil.test").bytes)
            let end = try await peer.readToEnd()
            #expect(end.ending == .reset && rig.world.refusals == ["host-not-allowed evil.test"])
            let http = try await rig.connect(Self.good, 7000)
            let silent = try await server.accept()
            try await http.send("GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n")
            let answer = try await http.textToEnd()
            #expect(
                answer.hasPrefix("HTTP/1.1 403 ") && answer.contains("host-mismatch")
                    || answer.contains("host-not-allowed"))
            let nothing = try await silent.readToEnd()
            #expect(nothing.bytes.isEmpty)
        }
    }

    @Test func publicWithDeniedNamesNeedsANameThatIsNot() async throws {
        let network = Networks.open(deny: "evil.test", "*.evil.test")
        try await Self.expectRefusal(of: [], address: "20.9.9.9", network: network, "address-not-allowed", name: nil)
        try await Self.expectRefusal(
            of: HelloMaker(serverName: "a.evil.test").bytes, network: network, "host-not-allowed", name: "a.evil.test")
        try await Self.with(network, port: 2222) { rig, server in
            let peer = try await rig.connect(Self.good, 2222)
            let upstream = try await server.accept()
            try await peer.send("SSH-2.0-x\r\n")
            let line = try await upstream.read(through: "\r\n")
            #expect(line == "SSH-2.0-x\r\n")
            await peer.close()
        }
    }

    @Test func anAddressThatIsAllowedPassesAnything() async throws {
        try await Self.with(Networks.allow("20.0.0.0/24:9000"), port: 9000) { rig, server in
            let peer = try await rig.connect(Self.good, 9000)
            try await peer.send("anything")
            let upstream = try await server.accept()
            let bytes = try await upstream.read(8)
            #expect(bytes == Array("anything".utf8))
            await peer.close()
        }
    }

    @Test func aServerThatRefusesIsAReset() async throws {
        try await Self.with { rig, _ in
            rig.nameServer.set("other.test", .init(addresses: ["20.0.0.77"]))
            _ = try await rig.lookUp("other.test")
            let peer = try await rig.connect("20.0.0.77", 443)
            try await peer.send(HelloMaker(serverName: "other.test").bytes)
            let end = try await peer.readToEnd()
            #expect(end.ending == .reset && rig.world.denials.isEmpty)
        }
    }

    @Test func aResetOfOneSideResetsTheOther() async throws {
        try await Self.with { rig, server in
            let peer = try await rig.connect(Self.good, 443)
            try await peer.send(HelloMaker().bytes)
            let upstream = try await server.accept()
            _ = try await upstream.read(10)
            try await upstream.reset()
            let end = try await peer.readToEnd()
            #expect(end.ending == .reset)
        }
    }

    @Test func connectionsAreBounded() async throws {
        try await Self.with(Networks.allow("good.test", connections: 3)) { rig, server in
            var peers: [Peer] = []
            for _ in 0..<3 {
                let peer = try await rig.connect(Self.good, 443)
                try await peer.send(HelloMaker().bytes)
                _ = try await server.accept().read(1)
                peers.append(peer)
            }
            let one = try await rig.connect(Self.good, 443)
            let end = try await one.readToEnd()
            #expect(end.ending == .reset && rig.world.refusals == ["connection-limit -"])
            for peer in peers { await peer.close() }
        }
    }

    @Test func aPolicyPutInForceEndsWhatItDoesNotAllow() async throws {
        try await Self.with { rig, server in
            let peer = try await rig.connect(Self.good, 443)
            try await peer.send(HelloMaker().bytes)
            let upstream = try await server.accept()
            _ = try await upstream.read(10)
            try await rig.proxy.apply(Networks.allow("good.test", "third.test"))
            try await upstream.send("more")
            let more = try await peer.read(4)
            #expect(more == Array("more".utf8))
            try await rig.proxy.apply(Networks.allow("third.test"))
            let ends = (try await peer.readToEnd(), try await upstream.readToEnd())
            #expect(ends.0.ending == .reset && ends.1.ending == .reset)
            #expect(rig.world.refusals == ["host-not-allowed good.test"])
        }
    }

    @Test func stoppingEndsEverything() async throws {
        try await Self.with { rig, server in
            let peer = try await rig.connect(Self.good, 443)
            try await peer.send(HelloMaker().bytes)
            _ = try await server.accept().read(10)
            let waiting = try await rig.connect(Self.good, 443)
            await rig.proxy.stop()
            _ = try await peer.readToEnd()
            _ = try await waiting.readToEnd()
            await #expect(throws: (any Error).self) { try await Peer.connect(port: rig.proxyPort) }
        }
    }
}
