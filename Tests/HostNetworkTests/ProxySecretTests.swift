import Logging
import NIOCore
import NIOHTTP1
import NIOSSL
import SandboxModel
import Testing

@testable import HostNetwork

/// Secrets that are put in on the way out, to their hosts and to nobody else.
@Suite(.serialized, .timeLimit(.minutes(2))) struct ProxySecretTests {
    private static let address = "20.0.0.1"
    private static let placeholder = "mtsec_abcdef0123456789"
    private static let value = "s3cr3t-value-0001"

    private struct World {
        let rig: ProxyRig
        let server: HTTPServer
        /// The sandbox's authority, as the guest has it.
        let guest: TestTLS
        /// Who signs the world's servers.
        let outside: TestTLS

        /// What a guest's client gets for one request, by TLS with a name.
        func ask(_ request: String, name: String = "api.test", address: String = ProxySecretTests.address) async throws
            -> String
        {
            let peer = try await rig.connect(address, 443)
            let guest = guest
            try await peer.secure(guest.client(name))
            try? await peer.send(request)
            return try await peer.textToEnd()
        }
    }

    private static func secret(_ hosts: String..., header: String? = nil) -> NetworkSecret {
        NetworkSecret(
            name: "TOKEN", placeholder: placeholder, value: value, hosts: hosts.map { HostPattern($0)! },
            header: header,
            format: header == nil ? "{value}" : "Bearer {value}")
    }

    private static func network(_ policy: NetworkPolicy, _ secret: NetworkSecret, _ tls: TestTLS) -> SandboxNetwork {
        SandboxNetwork(policy: policy, secrets: [secret], authority: tls.authority)
    }

    private static func with(
        mode: NetworkPolicy.Mode = .allowlist, secret: NetworkSecret = secret("api.test"),
        serverName: String = "api.test",
        expired: Bool = false, trusted: Bool = true, _ body: (World) async throws -> Void
    ) async throws {
        let (guest, outside) = (try TestTLS(), try TestTLS())
        let server = try await HTTPServer.start(tls: outside.server(serverName, expired: expired))
        let policy = NetworkPolicy(
            mode: mode, allow: mode == .allowlist ? ["api.test", "other.test"].map { NetworkRule($0[...])! } : [])
        try await ProxyRig.with(network(policy, secret, guest), trust: trusted ? outside.trust() : nil) { rig in
            rig.nameServer.set("api.test", .init(addresses: [address]))
            rig.nameServer.set("other.test", .init(addresses: [address]))
            rig.world.map(address, 443, to: server.port)
            if mode == .allowlist {
                _ = try await rig.lookUp("api.test")
                _ = try await rig.lookUp("other.test")
            }
            try await body(World(rig: rig, server: server, guest: guest, outside: outside))
        }
        await server.stop()
    }

    private static func get(_ uri: String = "/", host: String = "api.test", _ more: String = "") -> String {
        "GET \(uri) HTTP/1.1\r\nHost: \(host)\r\nConnection: close\r\n\(more)\r\n"
    }

    @Test(arguments: [NetworkPolicy.Mode.allowlist, .public])
    func thePlaceholderBecomesTheValueOnTheWayOut(mode: NetworkPolicy.Mode) async throws {
        try await Self.with(mode: mode) { world in
            let text = try await world.ask(
                Self.get("/?key=\(Self.placeholder)", "Authorization: Bearer \(Self.placeholder)\r\n"))
            #expect(text.hasPrefix("HTTP/1.1 200 OK"))
            let seen = try #require(world.server.seen.first)
            #expect(seen.head.headers["authorization"] == ["Bearer \(Self.value)"])
            #expect(seen.head.uri == "/?key=\(Self.value)")
            #expect(world.rig.world.denials.isEmpty)
        }
    }

    @Test func aHeaderOfItsOwnIsSet() async throws {
        try await Self.with(secret: Self.secret("*.test", header: "Authorization")) { world in
            _ = try await world.ask(Self.get("/", "Authorization: other\r\n"))
            #expect(world.server.seen.first?.head.headers["authorization"] == ["Bearer \(Self.value)"])
        }
    }

    @Test func aBodyIsNeverTouched() async throws {
        try await Self.with { world in
            let body = "token=\(Self.placeholder)"
            _ = try await world.ask(
                "POST / HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
            )
            #expect(world.server.seen.first.map { String(decoding: $0.body, as: UTF8.self) } == body)
        }
    }

    @Test func anotherHostInsideTheHandshakesNameIsRefused() async throws {
        try await Self.with { world in
            let text = try await world.ask(Self.get(host: "other.test", "Authorization: \(Self.placeholder)\r\n"))
            #expect(text.hasPrefix("HTTP/1.1 403") && text.contains("host-mismatch"))
            #expect(world.server.seen.isEmpty)
            #expect(world.rig.world.refusals == ["host-mismatch other.test"])
        }
    }

    @Test(arguments: [
        "GET https://other.test/ HTTP/1.1\r\nHost: api.test\r\nX: \(placeholder)\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: api.test\r\nHost: other.test\r\nX: \(placeholder)\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: api.test\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "CONNECT other.test:443 HTTP/1.1\r\nHost: api.test\r\nX: \(placeholder)\r\n\r\n",
        "GET / HTTP/1.1\r\nX: \(placeholder)\r\n\r\n",
    ])
    func requestsThatCouldCarryItElsewhereAreRefused(request: String) async throws {
        try await Self.with { world in
            let text = try await world.ask(request)
            #expect(text.hasPrefix("HTTP/1.1 40") && world.server.seen.isEmpty)
            #expect(world.rig.world.denials.count == 1)
        }
    }

    @Test func noConnectionHeaderTakesAwayWhereItGoes() async throws {
        try await Self.with { world in
            _ = try await world.ask(
                "GET / HTTP/1.1\r\nHost: api.test\r\nConnection: close, Host, Authorization\r\n"
                    + "Authorization: \(Self.placeholder)\r\nTrailer: Authorization\r\n\r\n")
            let seen = try #require(world.server.seen.first)
            #expect(seen.head.headers["host"] == ["api.test"])
            #expect(seen.head.headers["authorization"] == [Self.value] && seen.head.headers["trailer"].isEmpty)
        }
    }

    @Test func otherHostsPassUntouchedWithTheirOwnCertificate() async throws {
        try await Self.with(serverName: "other.test") { world in
            let peer = try await world.rig.connect(Self.address, 443)
            // Shown to a client that trusts the world, and not the sandbox's authority.
            let outside = world.outside
            try await peer.secure(outside.client("other.test"))
            try await peer.send(Self.get(host: "other.test", "Authorization: \(Self.placeholder)\r\n"))
            _ = try await peer.textToEnd()
            #expect(world.server.seen.first?.head.headers["authorization"] == [Self.placeholder])
        }
    }

    @Test func plainHTTPNeverCarriesIt() async throws {
        let plain = try await HTTPServer.start()
        try await Self.with { world in
            world.rig.world.map(Self.address, 80, to: plain.port)
            let peer = try await world.rig.connect(Self.address, 80)
            try await peer.send(Self.get("/", "Authorization: \(Self.placeholder)\r\n"))
            _ = try await peer.textToEnd()
            #expect(plain.seen.first?.head.headers["authorization"] == [Self.placeholder])
        }
        await plain.stop()
    }

    @Test(arguments: [("api.test", true, true), ("elsewhere.test", false, true), ("api.test", false, false)])
    func aServerThatCannotProveItselfIsToldNothing(name: String, expired: Bool, trusted: Bool) async throws {
        try await Self.with(serverName: name, expired: expired, trusted: trusted) { world in
            let text = try await world.ask(Self.get("/", "Authorization: \(Self.placeholder)\r\n"))
            #expect(text.hasPrefix("HTTP/1.1 502") && text.contains("certificate"))
            #expect(!text.contains(Self.value) && world.server.seen.isEmpty)
        }
    }

    /// In mode public the guest may connect wherever it likes and say the name: what counts is where the name leads.
    @Test func theValueGoesWhereTheNameLeadsNotWhereTheGuestPoints() async throws {
        let trap = try await PeerServer.start()
        try await Self.with(mode: .public) { world in
            world.rig.world.map("66.6.6.6", 443, to: trap.port)
            let text = try await world.ask(
                Self.get("/", "Authorization: \(Self.placeholder)\r\n"), address: "66.6.6.6")
            #expect(text.hasPrefix("HTTP/1.1 200 OK"))
            #expect(world.server.seen.first?.head.headers["authorization"] == [Self.value])
            #expect(world.rig.world.connected == [Destination(address: IPv4(Self.address), port: 443)])
        }
        await trap.stop()
    }

    /// The way to where it points is open before it says whom it wants: that way is not taken.
    @Test func aClientThatIsSlowToSpeakGetsTheSame() async throws {
        let trap = try await PeerServer.start()
        try await Self.with(mode: .public) { world in
            world.rig.world.map("66.6.6.6", 443, to: trap.port)
            let peer = try await world.rig.connect("66.6.6.6", 443)
            let early = try await trap.accept()
            let guest = world.guest
            try await peer.secure(guest.client("api.test"))
            try await peer.send(Self.get("/", "Authorization: \(Self.placeholder)\r\n"))
            let text = try await peer.textToEnd()
            #expect(text.hasPrefix("HTTP/1.1 200 OK"))
            #expect(world.server.seen.first?.head.headers["authorization"] == [Self.value])
            let told = try await early.readToEnd()
            #expect(told.bytes.isEmpty)
        }
        await trap.stop()
    }

    @Test func inModePublicOtherTLSPassesUntouched() async throws {
        let server = try await PeerServer.start()
        try await Self.with(mode: .public) { world in
            world.rig.world.map("20.7.7.7", 443, to: server.port)
            for bytes in [HelloMaker(serverName: "unknown.test").bytes, HelloMaker(serverName: nil).bytes] {
                let peer = try await world.rig.connect("20.7.7.7", 443)
                try await peer.send(bytes)
                let received = try await server.accept().read(bytes.count)
                #expect(received == bytes)
                await peer.close()
            }
            // Silence: the server may speak first.
            let silent = try await world.rig.connect("20.7.7.7", 443)
            try await server.accept().send("hello")
            let greeting = try await silent.read(5)
            #expect(greeting == Array("hello".utf8))
            await silent.close()
        }
        await server.stop()
    }

    @Test func answersHeadersDoNotGiveItBack() async throws {
        try await Self.with { world in
            let text = try await world.ask(Self.get("/redirect?key=\(Self.placeholder)"))
            #expect(text.contains("Location: https://other.test/redirect?key=\(Self.placeholder)"))
        }
    }

    @Test func aValuePutInForceCountsForTheNextRequest() async throws {
        try await Self.with { world in
            let peer = try await world.rig.connect(Self.address, 443)
            let guest = world.guest
            try await peer.secure(guest.client("api.test"))
            let request = "GET / HTTP/1.1\r\nHost: api.test\r\nX-Key: \(Self.placeholder)\r\n\r\n"
            try await peer.send(request)
            _ = try await peer.read(through: "api.test ")
            var changed = Self.secret("api.test")
            changed.value = "another-value-0002"
            let policy = NetworkPolicy(mode: .allowlist, allow: [NetworkRule("api.test")!])
            try await world.rig.proxy.apply(Self.network(policy, changed, world.guest))
            try await peer.send(request)
            _ = try await peer.read(through: "api.test ")
            #expect(world.server.seen.map { $0.head.headers["x-key"] } == [[Self.value], ["another-value-0002"]])
            // Without it there is nothing to end TLS for.
            try await world.rig.proxy.apply(SandboxNetwork(policy: policy))
            let end = try await peer.readToEnd()
            #expect(end.bytes.isEmpty)
        }
    }

    @Test func anAuthorityThatCannotBeReadClosesEverything() async throws {
        try await Self.with { world in
            let broken = SandboxNetwork(
                policy: NetworkPolicy(mode: .public), secrets: [Self.secret("api.test")],
                authority: NetworkAuthority(certificate: "none", privateKey: Self.value))
            await #expect { try await world.rig.proxy.apply(broken) } throws: { !"\($0)".contains(Self.value) }
            let peer = try await world.rig.connect(Self.address, 443)
            let end = try await peer.readToEnd()
            #expect(end.ending == .reset)
        }
    }

    @Test func webSocketsWorkOverTLSEndedHere() async throws {
        let (guest, outside) = (try TestTLS(), try TestTLS())
        let server = try await PeerServer.start(tls: outside.server("api.test"))
        let policy = NetworkPolicy(mode: .allowlist, allow: [NetworkRule("api.test")!])
        try await ProxyRig.with(
            Self.network(policy, Self.secret("api.test"), guest), trust: outside.trust()
        ) { rig in
            try await rig.place("api.test", Self.address, ports: [443: server.port])
            let peer = try await rig.connect(Self.address, 443)
            try await peer.secure(guest.client("api.test"))
            try await peer.send(
                "GET /ws?t=\(Self.placeholder) HTTP/1.1\r\nHost: api.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
            )
            let upstream = try await server.accept()
            let request = try await upstream.read(through: "\r\n\r\n")
            #expect(request.hasPrefix("GET /ws?t=\(Self.value) "))
            try await upstream.send(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello")
            _ = try await peer.read(through: "hello")
            try await peer.send("up")
            let up = try await upstream.read(2)
            #expect(up == Array("up".utf8))
            await peer.close()
        }
        await server.stop()
    }
}
