import Foundation
import MartletAPI
import MartletClient
import SandboxModel
import Testing

/// What a policy allows works as if nothing were between: through the proxy where names decide, through packets elsewhere.
@Suite(.serialized, .requiresDaemon, .requiresNetworkLab, .timeLimit(.minutes(15))) struct AllowedTests {
    /// A line for the guest's shell, and what it must print.
    private struct Case {
        var name: String
        var line: String
        var output: String

        init(_ name: String, _ line: String, _ output: String) {
            self.name = name
            self.line = line
            self.output = output
        }
    }

    private static let works = "cd /root/lab && python3 works.py"
    private static let trust = "--cacert /root/ca.pem"
    private static let ok = "93.184.216.10"
    private static let page = #"grep -o '"target": "[^"]*"'"#

    private func byName(_ lab: NetworkLab, leaf: String) -> [Case] {
        let (works, trust, ok, page) = (Self.works, Self.trust, Self.ok, Self.page)
        return [
            Case("HTTP/1.1", "curl -s http://ok.example/one | \(page)", #""target": "/one""#),
            Case(
                "HTTP/1.1, kept alive", "curl -s http://ok.example/one http://ok.example/two | \(page) | wc -l", "2"),
            Case("a port that a rule names", "curl -s http://tcp.example:8080/one | \(page)", #""target": "/one""#),
            Case("a name in capitals", "curl -s http://OK.Example/one | \(page)", #""target": "/one""#),
            Case("a name with a dot at its end", "curl -s http://ok.example./one | \(page)", #""target": "/one""#),
            Case(
                "a body",
                "head -c 300000 /dev/zero | curl -s --data-binary @- http://ok.example/one | wc -c | "
                    + "awk '{ print ($1 > 300000) }'", "1"),
            Case("TLS", "curl -s \(trust) https://ok.example/one | \(page)", #""target": "/one""#),
            Case(
                "TLS, a wildcard's name", "curl -s \(trust) https://a.wild.example/one | \(page)", #""target": "/one""#),
            Case(
                "a wildcard's name below one below", "curl -s http://x.deep.wild.example/one | \(page)",
                #""target": "/one""#),
            Case("the server's own certificate", "\(works) certificate ok.example", leaf),
            Case(
                "TLS with a name in capitals",
                "cd /root/lab && echo '{\"attempt\":\"tls\",\"resolve\":\"ok.example\",\"sni\":\"OK.Example\"}' | "
                    + "python3 attempts.py | cut -c1-17", #"{"refused": false"#),
            Case(
                "HTTP/2", "curl -s --http2 \(trust) https://h2.example/protocol | cut -d' ' -f1-2",
                "HTTP/2.0 h2.example"),
            Case("WebSocket", "\(works) websocket ok.example", "20 messages"),
            Case("WebSocket over TLS", "\(works) websocket ok.example /root/ca.pem", "20 messages"),
            Case(
                "a server that speaks first", "\(works) greeting tcp.example 7000",
                "['220', 'lab', 'ready', 'echo:hello']"),
            Case(
                "git over https",
                "cd /root && GIT_SSL_CAINFO=/root/ca.pem git clone -q https://git.example/project.git && cat project/file",
                "cloned"),
            Case(
                "pip from an index",
                "mkdir /root/pip && tar -C /root/pip -xf /root/pip.tar && cd /root && PIP_DISABLE_PIP_VERSION_CHECK=1 "
                    + "PYTHONPATH=/root/pip python3 -m pip install -q "
                    + "--root-user-action=ignore --no-cache-dir --cert /root/ca.pem --index-url "
                    + "https://pypi.example/simple --target /root/lib lab-probe && PYTHONPATH=/root/lib python3 -c "
                    + "'import lab_probe; print(lab_probe.ANSWER)'", "42"),
            Case(
                "a large download over TLS",
                "curl -s \(trust) https://files.example/large.bin | sha256sum | cut -d' ' -f1", lab.downloadDigest),
            Case(
                "a large download", "curl -s http://files.example/large.bin | sha256sum | cut -d' ' -f1",
                lab.downloadDigest),
            Case("200 connections at once", "\(works) parallel ok.example 200", "200"),
            Case("a look-up", "\(works) lookup ok.example", "0 \(ok)"),
            Case("a look-up over TCP", "\(works) lookup a.wild.example 192.0.0.1 A tcp", "0 \(ok)"),
            Case("a look-up as the system does it", "getent ahostsv4 ok.example | head -n 1 | cut -d' ' -f1", ok),
            Case("a look-up at another server, answered by ours", "\(works) lookup ok.example 8.8.8.8", "0 \(ok)"),
            Case("IPv6 addresses are not there", "\(works) lookup ok.example 192.0.0.1 AAAA", "0"),
            Case("an alias", "curl -s http://cname-ok.example/one | \(page)", #""target": "/one""#),
            Case("two addresses", "\(works) lookup two.example", "0 93.184.216.15 93.184.216.16"),
            Case(
                "the public one of mixed addresses", "curl -s http://mixed.example/one | \(page)", #""target": "/one""#),
            Case(
                "a name that nobody is to keep", "curl -s http://zero-ttl.example/one | \(page)", #""target": "/one""#),
            Case(
                "a name that is to be kept for ever, is not",
                "\(works) ttl huge-ttl.example | awk '{ print ($1 <= 86400) }'",
                "1"),
            Case("UDP to an allowed range", "\(works) udp 93.184.230.7 7002", "echo:hello"),
            Case("an allowed address on its port, no name", "\(works) by_address 93.184.231.5 8443", "True"),
        ]
    }

    private func byPacket(_ lab: NetworkLab) -> [Case] {
        let (works, trust, page) = (Self.works, Self.trust, Self.page)
        return [
            Case("HTTP by address", "curl -s http://93.184.140.1/one | \(page)", #""target": "/one""#),
            Case("HTTP by name", "curl -s http://bad.example/one | \(page)", #""target": "/one""#),
            Case("TLS", "curl -s \(trust) https://ok.example/one | \(page)", #""target": "/one""#),
            Case("TLS without a name", "\(works) by_address 93.184.140.2 443", "True"),
            Case(
                "HTTP/2", "curl -s --http2 \(trust) https://h2.example/protocol | cut -d' ' -f1-2",
                "HTTP/2.0 h2.example"),
            Case("WebSocket over TLS", "\(works) websocket ok.example /root/ca.pem", "20 messages"),
            Case("UDP", "\(works) udp 93.184.140.3 7002", "echo:hello"),
            Case("UDP where QUIC is", "\(works) udp 93.184.140.3 443", "echo:hello"),
            Case(
                "a denied range's other ports", "curl -s http://93.184.217.7:8080/one | \(page)", #""target": "/one""#),
            Case(
                "ICMP",
                "cd /root/lab && echo '{\"attempt\":\"ping\",\"address\":\"93.184.140.4\",\"token\":\"x\"}' | "
                    + "python3 attempts.py | cut -c1-17", #"{"refused": false"#),
            Case("any type of look-up", "\(works) lookup ok.example 192.0.0.1 TXT", "0"),
            Case(
                "a large download", "curl -s http://files.example/large.bin | sha256sum | cut -d' ' -f1",
                lab.downloadDigest),
            Case("200 connections at once", "\(works) parallel ok.example 200", "200"),
        ]
    }

    @Test(arguments: Wall.allCases.filter(\.isInstalled))
    func `what is allowed by name, port or range works, and nothing is told as refused`(_ wall: Wall) async throws {
        try await check(wall, .allowlist, told: ["mixed.example"]) { lab in
            let leaf = try String(contentsOfFile: "\(lab.directory)/leaf.pem", encoding: .utf8)
            return byName(lab, leaf: leaf.trimmingCharacters(in: .whitespacesAndNewlines))
        } after: { lab in
            // What was asked of another server never got there.
            let seen = try await lab.seen(at: ["8.8.8.8"])
            #expect(seen.isEmpty)
        }
    }

    @Test(arguments: Wall.allCases.filter(\.isInstalled))
    func `in mode public everything public works, and nothing is told as refused`(_ wall: Wall) async throws {
        // gVisor has no sockets that make packets by hand.
        let pings = wall != .gvisor
        try await check(wall, .open, told: []) { lab in
            byPacket(lab).filter { pings || $0.name != "ICMP" }
        } after: { lab in
            let seen = try await lab.seen(at: ["93.184.140.4"])
            #expect(seen.isEmpty != pings)
        }
    }

    private func check(
        _ wall: Wall, _ policy: LabPolicy, told: Set<String>, _ cases: (NetworkLab) throws -> [Case],
        after: (NetworkLab) async throws -> Void
    ) async throws {
        try await NetworkLab.with { lab in
            try await DaemonFixture.with(lab.daemonOptions + ["--no-pool"], lab: lab) { fixture in
                let sandbox = try await fixture.guest(policy.policy, lab, wall)
                if policy == .allowlist {
                    let pip = try #require(try await lab.command("pip").output)
                    try await fixture.client.upload(
                        sandbox.id, "/root/pip.tar", bytes: [UInt8](try Data(contentsOf: URL(fileURLWithPath: pip))))
                }
                let all = try cases(lab)
                for one in all {
                    let result = try await fixture.shell(sandbox, one.line, timeoutSeconds: 120)
                    let output = (result.stdout ?? "").trimmingCharacters(in: .whitespacesAndNewlines)
                    #expect(output == one.output, "\(wall): \(one.name): \(result.stderr ?? "")")
                }
                print("\(wall), \(policy): \(all.count) allowed things: \(all.map(\.name).joined(separator: ", "))")
                let counters = try #require(try await fixture.client.network(sandbox.id).counters)
                #expect(counters.receivedBytes > 24 << 20 && counters.sentBytes > 10_000)
                #expect(counters.receivedPackets > 1000 && counters.sentPackets > 1000)
                try await EventWatch.with(fixture.client, sandbox.id) { watch in
                    _ = await watch.first { $0.kind == "exec" }
                    let denials = await watch.events.filter { event in
                        event.kind == "network_denied" && !told.contains(event.details["name"] ?? "")
                    }
                    #expect(denials.isEmpty, "\(denials)")
                }
                try await after(lab)
            }
        }
    }
}

extension DaemonFixture {
    /// A guest with a policy, the programs of tests, and the lab's authority in a file.
    func guest(
        _ policy: NetworkPolicy, _ lab: NetworkLab, _ wall: Wall = .microvm, secrets: [SecretRequest]? = nil
    ) async throws -> SandboxResource {
        let sandbox = try await create(
            CreateSandboxRequest(
                timeoutSeconds: 1200, isolation: wall.rawValue, network: policy, secrets: secrets))
        try await GuestProbe.install(client, sandbox.id)
        try await client.upload(
            sandbox.id, "/root/ca.pem", bytes: [UInt8](try Data(contentsOf: URL(fileURLWithPath: lab.authority))))
        return sandbox
    }
}
