import NIOCore
import NIOHTTP1
import SandboxModel
import Testing

@testable import HostNetwork

/// Requests of HTTP/1.1, each held to the names of its address.
@Suite(.serialized, .timeLimit(.minutes(2))) struct ProxyHTTPTests {
    private static let good = "20.0.0.1"

    private static func with(
        _ network: SandboxNetwork = Networks.allow("good.test", "also.test", "other.test"),
        _ body: (ProxyRig, HTTPServer) async throws -> Void
    ) async throws {
        let server = try await HTTPServer.start()
        try await ProxyRig.with(network) { rig in
            try await rig.place("good.test", good, ports: [80: server.port])
            try await rig.place("also.test", good)
            try await rig.place("other.test", "20.0.0.2")
            try await body(rig, server)
        }
        await server.stop()
    }

    /// A rig whose server is one that the test speaks for.
    private static func withPeer(_ body: (ProxyRig, PeerServer) async throws -> Void) async throws {
        let server = try await PeerServer.start()
        try await ProxyRig.with(Networks.allow("good.test", "also.test", "other.test")) { rig in
            try await rig.place("good.test", good, ports: [80: server.port])
            try await body(rig, server)
        }
        await server.stop()
    }

    private static func get(_ uri: String = "/", host: String = "good.test", more: String = "") -> String {
        "GET \(uri) HTTP/1.1\r\nHost: \(host)\r\n\(more)\r\n"
    }

    @Test func requestsOnOneConnectionAreEachAnswered() async throws {
        try await Self.with { rig, server in
            let peer = try await rig.connect(Self.good, 80)
            for number in 0..<5 {
                try await peer.send(Self.get("/\(number)", host: number % 2 == 0 ? "good.test" : "ALSO.test"))
                let answer = try await peer.read(through: "test ")
                #expect(answer.hasPrefix("HTTP/1.1 200 OK") && answer.contains("GET /\(number) "))
            }
            #expect(server.seen.count == 5 && rig.world.connected.count == 1)
            await peer.close()
        }
    }

    @Test func pipelinedRequestsAreAnsweredInOrder() async throws {
        try await Self.with { rig, _ in
            let peer = try await rig.connect(Self.good, 80)
            let count = 200
            try await peer.send((0..<count).map { Self.get("/\($0)") }.joined())
            for number in 0..<count {
                let answer = try await peer.read(through: "good.test ")
                #expect(answer.contains("GET /\(number) "))
            }
            await peer.close()
        }
    }

    @Test func theFirstRequestBehindAnotherHostIsRefusedAndThoseBeforeAnswered() async throws {
        try await Self.with { rig, server in
            let peer = try await rig.connect(Self.good, 80)
            try await peer.send(Self.get("/1") + Self.get("/2", host: "evil.test") + Self.get("/3"))
            let text = try await peer.textToEnd()
            #expect(text.contains("GET /1 ") && text.contains("403 Forbidden") && text.contains("host-not-allowed"))
            #expect(!text.contains("/3"))
            #expect(server.seen.map(\.head.uri) == ["/1"])
            #expect(rig.world.refusals == ["host-not-allowed evil.test"])
        }
    }

    @Test(
        arguments: [
            (get(host: "evil.test"), "host-not-allowed", "403"), (get(host: "other.test"), "host-mismatch", "403"),
            (get(host: "20.0.0.1"), "host-not-allowed", "403"), (get(host: "good.test:8080"), "host-mismatch", "403"),
            ("GET / HTTP/1.1\r\n\r\n", "no-host", "403"), ("GET / HTTP/1.0\r\n\r\n", "no-host", "403"),
            ("GET / HTTP/1.1\r\nHost: good.test\r\nHost: evil.test\r\n\r\n", "no-host", "403"),
            ("GET http://evil.test/ HTTP/1.1\r\nHost: good.test\r\n\r\n", "proxy-request", "403"),
            ("GET http://good.test/ HTTP/1.1\r\nHost: good.test\r\n\r\n", "proxy-request", "403"),
            ("CONNECT evil.test:443 HTTP/1.1\r\nHost: good.test\r\n\r\n", "proxy-request", "403"),
            ("GET / HTTP/1.1\nHost: good.test\n\n", "not-http", "400"),
            ("GET / HTTP/1.1\r\nHost : good.test\r\n\r\n", "not-http", "400"),
            ("GET / HTTP/1.1\r\n Host: good.test\r\n\r\n", "not-http", "400"),
            ("GET / HTTP/1.1\r\nHost: good.test\r\nX: a\r\n b: c\r\n\r\n", "", ""),
            ("GET\t/ HTTP/1.1\r\nHost: good.test\r\n\r\n", "not-http", "400"),
            ("BREW / HTTP/1.1\r\nHost: good.test\r\n\r\n", "not-http", "400"),
            ("GET / HTTP/2.0\r\nHost: good.test\r\n\r\n", "not-http", "400"),
            (
                "POST / HTTP/1.1\r\nHost: good.test\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                "not-http", "400"
            ),
            (
                "POST / HTTP/1.1\r\nHost: good.test\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
                "not-http", "400"
            ),
            (
                "POST / HTTP/1.1\r\nHost: good.test\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
                "not-http", "400"
            ),
            (
                "POST / HTTP/1.1\r\nHost: good.test\r\nTransfer-Encoding: \u{b}chunked\r\n\r\n0\r\n\r\n", "not-http",
                "400"
            ),
            ("\r\n\r\nGET / HTTP/1.1\r\nHost: evil.test\r\n\r\n", "host-not-allowed", "403"),
        ] as [(String, String, String)])
    func requestsThatCouldReachAnotherHostAreRefused(request: String, rule: String, status: String) async throws {
        try await Self.with { rig, server in
            let peer = try await rig.connect(Self.good, 80)
            try await peer.send(request)
            try await peer.endSending()
            let text = try await peer.textToEnd()
            if rule.isEmpty {
                // Passed on by the rules, but in a form that can be read in one way only.
                #expect(server.seen.allSatisfy { $0.head.headers["b"].isEmpty } || text.contains("400"))
            } else {
                #expect(text.hasPrefix("HTTP/1.1 \(status)") && text.contains(rule))
                #expect(server.seen.isEmpty && rig.world.denials.map(\.rule) == [rule])
            }
        }
    }

    @Test func bodiesInChunksAndOfALengthArePassedOn() async throws {
        try await Self.with { rig, server in
            let peer = try await rig.connect(Self.good, 80)
            try await peer.send(
                "POST /chunked HTTP/1.1\r\nHost: good.test\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n"
                    + "5;ext=1\r\nhello\r\n1\r\n!\r\n0\r\nX-T: 1\r\nHost: evil.test\r\n\r\n")
            let chunked = try await peer.read(through: "0\r\n\r\n")
            #expect(chunked.lowercased().contains("transfer-encoding: chunked"))
            try await peer.send("PUT /b HTTP/1.1\r\nHost: good.test\r\nContent-Length: 3\r\n\r\nabc")
            _ = try await peer.read(through: "abc")
            #expect(server.seen.map { String(decoding: $0.body, as: UTF8.self) } == ["hello!", "abc"])
            #expect(server.seen[0].trailers == nil)
            #expect(server.seen[1].head.headers["content-length"] == ["3"])
            await peer.close()
        }
    }

    @Test func answersWithoutABodyDoNotDisturbWhatFollows() async throws {
        try await Self.with { rig, _ in
            let peer = try await rig.connect(Self.good, 80)
            try await peer.send(
                "HEAD /h HTTP/1.1\r\nHost: good.test\r\n\r\n" + Self.get("/204") + Self.get("/304") + Self.get("/last"))
            let text = try await peer.read(through: "GET /last good.test ")
            #expect(text.components("HTTP/1.1 ") == 4)
            #expect(text.contains("204 No Content") && text.contains("304 Not Modified"))
            await peer.close()
        }
    }

    @Test func aClientThatAsksFirstIsToldToGoOn() async throws {
        try await Self.with { rig, server in
            let peer = try await rig.connect(Self.good, 80)
            try await peer.send(
                "PUT /e HTTP/1.1\r\nHost: good.test\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
            let interim = try await peer.read(through: "\r\n\r\n")
            #expect(interim.hasPrefix("HTTP/1.1 100"))
            try await peer.send("body")
            _ = try await peer.read(through: "body")
            #expect(server.seen.count == 1)
            await peer.close()
        }
    }

    @Test func anOlderClientGetsAnAnswerThatEnds() async throws {
        try await Self.with { rig, _ in
            let peer = try await rig.connect(Self.good, 80)
            try await peer.send("GET /chunked HTTP/1.0\r\nHost: good.test\r\n\r\n")
            let text = try await peer.textToEnd()
            #expect(text.hasPrefix("HTTP/1.0 200") && text.hasSuffix("GET /chunked good.test "))
            #expect(!text.lowercased().contains("transfer-encoding"))
        }
    }

    @Test func webSocketsPassRawOnceTheServerAgrees() async throws {
        try await Self.withPeer { rig, server in
            let peer = try await rig.connect(Self.good, 80)
            try await peer.send(
                Self.get(
                    "/ws", more: "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n")
                    + "early frame")
            let upstream = try await server.accept()
            let request = try await upstream.read(through: "\r\n\r\n")
            #expect(request.contains("Upgrade: websocket"))
            try await upstream.send(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nfirst frame")
            let answer = try await peer.read(through: "first frame")
            #expect(answer.hasPrefix("HTTP/1.1 101") && answer.hasSuffix("first frame"))
            let early = try await upstream.read(11)
            #expect(String(decoding: early, as: UTF8.self) == "early frame")
            try await peer.send([0, 1, 2, 255])
            let frame = try await upstream.read(4)
            #expect(frame == [0, 1, 2, 255])
            await peer.close()
            let end = try await upstream.readToEnd()
            #expect(end.bytes.isEmpty)
        }
    }

    /// What goes on as if it had been agreed to, is not.
    @Test func aRefusedWebSocketIsNoWayAroundTheRules() async throws {
        try await Self.withPeer { rig, server in
            let peer = try await rig.connect(Self.good, 80)
            try await peer.send(
                Self.get("/ws", more: "Connection: Upgrade\r\nUpgrade: websocket\r\n")
                    + Self.get("/", host: "evil.test"))
            let upstream = try await server.accept()
            _ = try await upstream.read(through: "\r\n\r\n")
            try await upstream.send("HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n")
            let text = try await peer.textToEnd()
            #expect(text.hasPrefix("HTTP/1.1 426"))
            let rest = try await upstream.readToEnd()
            #expect(rest.bytes.isEmpty)
        }
    }

    @Test func aServerCannotSwitchUnasked() async throws {
        try await Self.withPeer { rig, server in
            let peer = try await rig.connect(Self.good, 80)
            try await peer.send(
                Self.get("/up", more: "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n"))
            let upstream = try await server.accept()
            let request = try await upstream.read(through: "\r\n\r\n")
            #expect(!request.lowercased().contains("h2c") && !request.lowercased().contains("settings"))
            try await upstream.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
            let text = try await peer.textToEnd()
            #expect(text.hasPrefix("HTTP/1.1 502"))
        }
    }

    @Test func anAnswerThatEndsWithTheConnectionIsWhole() async throws {
        try await Self.withPeer { rig, server in
            let peer = try await rig.connect(Self.good, 80)
            try await peer.send(Self.get())
            let upstream = try await server.accept()
            _ = try await upstream.read(through: "\r\n\r\n")
            try await upstream.send("HTTP/1.1 200 OK\r\n\r\nall of it")
            try await upstream.endSending()
            let end = try await peer.readToEnd()
            #expect(String(decoding: end.bytes, as: UTF8.self).hasSuffix("all of it") && end.ending == .end)
        }
    }

    @Test func anAnswerCutShortDoesNotLookWhole() async throws {
        try await Self.withPeer { rig, server in
            let peer = try await rig.connect(Self.good, 80)
            try await peer.send(Self.get())
            let upstream = try await server.accept()
            _ = try await upstream.read(through: "\r\n\r\n")
            try await upstream.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
            _ = try await peer.read(through: "half")
            await upstream.close()
            let end = try await peer.readToEnd()
            #expect(end.ending == .reset)
        }
    }

    @Test func anAnswerBeforeTheWholeRequestIsPassedOn() async throws {
        try await Self.withPeer { rig, server in
            let peer = try await rig.connect(Self.good, 80)
            try await peer.send("POST / HTTP/1.1\r\nHost: good.test\r\nContent-Length: 1000\r\n\r\nsome")
            let upstream = try await server.accept()
            _ = try await upstream.read(through: "some")
            try await upstream.send("HTTP/1.1 413 Payload Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            let text = try await peer.textToEnd()
            #expect(text.hasPrefix("HTTP/1.1 413"))
        }
    }

    @Test func aServerThatCannotBeReachedIsSaidSo() async throws {
        try await Self.with { rig, _ in
            let peer = try await rig.connect("20.0.0.2", 80)
            try await peer.send(Self.get(host: "other.test"))
            let text = try await peer.textToEnd()
            #expect(text.hasPrefix("HTTP/1.1 502") && text.contains("20.0.0.2:80"))
            #expect(rig.world.denials.isEmpty)
        }
    }

    @Test func headersThatGoOnForEverAreNotHeld() async throws {
        try await Self.with { rig, server in
            let peer = try await rig.connect(Self.good, 80)
            try await peer.send("GET / HTTP/1.1\r\nHost: good.test\r\n")
            let filler = "X-Filler: " + String(repeating: "a", count: 8000) + "\r\n"
            for _ in 0..<40 { try? await peer.send(filler) }
            _ = try await peer.readToEnd()
            #expect(server.seen.isEmpty && rig.world.denials.map(\.rule) == ["not-http"])
        }
    }

    @Test func aPolicyPutInForceCountsForTheNextRequest() async throws {
        try await Self.with { rig, server in
            let peer = try await rig.connect(Self.good, 80)
            try await peer.send(Self.get("/1"))
            _ = try await peer.read(through: "good.test ")
            try await rig.proxy.apply(Networks.allow("good.test", "third.test"))
            try await peer.send(Self.get("/2", host: "also.test"))
            let text = try await peer.textToEnd()
            #expect(text.hasPrefix("HTTP/1.1 403") && server.seen.count == 1)
        }
    }
}

extension String {
    /// How often a text is in this one.
    func components(_ part: String) -> Int {
        var count = 0
        var rest = self[...]
        while let range = rest.firstRange(of: part) {
            count += 1
            rest = rest[range.upperBound...]
        }
        return count
    }
}
