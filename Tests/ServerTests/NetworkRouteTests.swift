import ControlPlane
import HTTPTypes
import MartletAPI
import SandboxModel
import Testing

@testable import Server

@Suite("Networks over HTTP")
struct NetworkRouteTests {
    private static let full = """
        {"mode":"allowlist","allow":["pypi.org","*.Example.com.:443,8000-8100","203.0.113.0/24"],"deny":["x.example.com"],
        "dns":{"servers":["192.0.2.1"]},"rate_mbps":50,"max_connections":9}
        """
    private static let secret = """
        {"name":"API_KEY","value_from":{"value":"hunter2-3f9a7c"},"hosts":["api.example.com"],"header":"X-Key"}
        """

    @Test("A sandbox is made with a policy and secrets, told with both, and its policy replaced")
    func life() async throws {
        try await ServerFixture.with { fixture in
            try await fixture.routed { client in
                let made = try await client.call(
                    .post, "/v1/sandboxes", #"{"network":\#(Self.full),"secrets":[\#(Self.secret)]}"#)
                #expect(made.status == 201)
                let sandbox = try made.json(SandboxResource.self)
                #expect(
                    sandbox.network?.allow.map(\.description)
                        == ["pypi.org", "*.example.com:443,8000-8100", "203.0.113.0/24"])
                #expect(sandbox.network?.dns?.servers == [IPv4Address(192, 0, 2, 1)])
                #expect(sandbox.secrets?.map(\.name) == ["API_KEY"])
                let path = "/v1/sandboxes/\(sandbox.id)/network"
                let told = try await client.call(.get, path)
                #expect(told.status == 200)
                let network = try told.json(NetworkResource.self)
                #expect(network.policy == sandbox.network && network.secrets.first?.header == "X-Key")
                #expect(network.secrets.first?.placeholder.hasPrefix("martlet-secret-api_key-") == true)
                let set = try await client.call(.put, path, #"{"mode":"public","dns":null,"rate_mbps":null}"#)
                #expect(set.status == 200)
                #expect(try set.json(SandboxResource.self).network == NetworkPolicy(mode: .public))
                let forked = try await client.call(
                    .post, "/v1/sandboxes/\(sandbox.id)/fork", #"{"inherit_secrets":true,"network":{"mode":"none"}}"#)
                #expect(forked.status == 201)
                let child = try #require(try forked.json(ForkResult.self).forks.first?.sandbox?.id)
                let inherited = try await client.call(.get, "/v1/sandboxes/\(child)/network")
                #expect(try inherited.json(NetworkResource.self).secrets == network.secrets)
                let list = try await client.call(.get, "/v1/sandboxes")
                #expect(!list.text.contains("api.example.com") && !list.text.contains("allow"))
                for answer in [made, told, set, forked, inherited, list] {
                    #expect(!answer.text.contains("hunter2") && !answer.text.contains("PRIVATE KEY"))
                }
            }
        }
    }

    @Test(
        "What is not as it must be is 400 naming the field, at any depth",
        arguments: [
            (#"{"network":{}}"#, "network.mode"), (#"{"network":[]}"#, "network"),
            (#"{"network":{"mode":"open"}}"#, "network.mode"), (#"{"network":{"mode":1}}"#, "network.mode"),
            (#"{"network":{"mode":"none","denny":[]}}"#, "network.denny"),
            (#"{"network":{"mode":"none","denny":null}}"#, "network.denny"),
            (#"{"network":{"mode":"allowlist","allow":"a.example"}}"#, "network.allow"),
            (#"{"network":{"mode":"allowlist","allow":["a.example","b.example",7]}}"#, "network.allow[2]"),
            (#"{"network":{"mode":"allowlist","allow":["a.example","::1"]}}"#, "network.allow[1]"),
            (#"{"network":{"mode":"allowlist","allow":["a.example:0"]}}"#, "network.allow[0]"),
            (#"{"network":{"mode":"allowlist","allow":["10.0.0.1/8"]}}"#, "network.allow[0]"),
            (#"{"network":{"mode":"public","deny":["*"]}}"#, "network.deny[0]"),
            (#"{"network":{"mode":"public","allow":["a.example"]}}"#, "network.allow"),
            (#"{"network":{"mode":"public","dns":{"servers":["a.example"]}}}"#, "network.dns.servers[0]"),
            (#"{"network":{"mode":"public","dns":{"servers":["192.0.2.1"],"port":53}}}"#, "network.dns.port"),
            (#"{"network":{"mode":"public","dns":{}}}"#, "network.dns.servers"),
            (#"{"network":{"mode":"public","rate_mbps":1.5}}"#, "network.rate_mbps"),
            (#"{"network":{"mode":"public","rate_mbps":-1}}"#, "network.rate_mbps"),
            (#"{"network":{"mode":"public","max_connections":65536}}"#, "network.max_connections"),
            (#"{"secrets":{}}"#, "secrets"), (#"{"secrets":[1]}"#, "secrets[0]"),
            (#"{"secrets":[{"name":"A","hosts":["a.example"]}]}"#, "secrets[0].value_from"),
            (#"{"secrets":[{"name":"A","hosts":["a.example"],"value_from":"x"}]}"#, "secrets[0].value_from"),
            (
                #"{"secrets":[{"name":"A","hosts":["a.example"],"value_from":{"file":"/etc/shadow"}}]}"#,
                "secrets[0].value_from.file"
            ),
            (
                #"{"secrets":[{"name":"A","hosts":["a.example"],"value_from":{"value":"x","x":null}}]}"#,
                "secrets[0].value_from.x"
            ),
            (
                #"{"secrets":[{"name":"A","hosts":["a.example"],"value_from":{"value":"x","env":null},"host":1}]}"#,
                "secrets[0].host"
            ),
            (#"{"secrets":[{"name":"A","hosts":["10.0.0.1"],"value_from":{"value":"x"}}]}"#, "secrets[0].hosts[0]"),
            (
                #"{"secrets":[{"name":"A","hosts":["a.example","b c"],"value_from":{"value":"x"}}]}"#,
                "secrets[0].hosts[1]"
            ),
            (#"{"inherit_secrets":true}"#, "inherit_secrets"),
        ])
    func badInput(body: String, field: String) async throws {
        try await ServerFixture.with { fixture in
            try await fixture.routed { client in
                let answer = try await client.call(.post, "/v1/sandboxes", body)
                #expect(answer.status == 400)
                let error = try answer.error()
                #expect(error.details["field"] == field, "\(error.message)")
                #expect(error.message.hasPrefix(field))
            }
            #expect(fixture.node.created.isEmpty)
        }
    }

    @Test(
        "In a policy that stands for itself the fields are named as they stand",
        arguments: [
            ("{}", "mode"), (#"{"mode":"public","x":1}"#, "x"), (#"{"mode":"public","deny":["a b"]}"#, "deny[0]"),
            (#"{"mode":"none","deny":["a.example"]}"#, "deny"), (#"{"mode":"public","rate_mbps":0}"#, "rate_mbps"),
            (#"{"mode":"public","dns":{"servers":[]}}"#, "dns"), (#"{"mode":"public","dns":{"x":1}}"#, "dns.servers"),
            (#"{"mode":"public","dns":{"servers":["192.0.2.1"],"x":1}}"#, "dns.x"),
        ])
    func badPolicy(body: String, field: String) async throws {
        try await ServerFixture.with { fixture in
            let id = try await fixture.create()
            try await fixture.routed { client in
                let answer = try await client.call(.put, "/v1/sandboxes/\(id)/network", body)
                #expect(answer.status == 400)
                #expect(try answer.error().details["field"] == field, "\(answer.text)")
            }
        }
    }

    @Test("Thousands of rules are taken, more are not; a body over 1 MiB is 413")
    func bounds() async throws {
        try await ServerFixture.with { fixture in
            let id = try await fixture.create()
            try await fixture.routed { client in
                func set(_ count: Int, _ suffix: String = "") async throws -> Int {
                    let rules = (0..<count).map { #""host-\#($0)\#(suffix).example:443""# }.joined(separator: ",")
                    return try await client.call(
                        .put, "/v1/sandboxes/\(id)/network", #"{"mode":"allowlist","allow":[\#(rules)]}"#
                    ).status
                }
                let (most, more) = (try await set(4096), try await set(4097))
                #expect(most == 200 && more == 400)
                let large = try await set(4096, String(repeating: ".x123456789", count: 22))
                #expect(large == 413)
            }
        }
    }

    @Test("A secret of the daemon's needs an administrator's key; a stranger's network is not there")
    func callers() async throws {
        try await ServerFixture.with(plane: { $0.secretVariables = ["MARTLET_SECRET_A": "v"] }) { fixture in
            let id = try await fixture.create()
            let text = try await fixture.plane.keys.make(label: "user", isAdmin: false)
            try await fixture.routed { client in
                let user = APIClient(client: client.client, key: text)
                let body = #"{"secrets":[{"name":"A","hosts":["a.example"],"value_from":{"env":"MARTLET_SECRET_A"}}]}"#
                let refused = try await user.call(.post, "/v1/sandboxes", body)
                #expect(refused.status == 403)
                #expect(try refused.error().details["field"] == "secrets[0].value_from.env")
                #expect(try await client.call(.post, "/v1/sandboxes", body).status == 201)
                #expect(try await user.call(.get, "/v1/sandboxes/\(id)/network").status == 404)
                #expect(try await user.call(.put, "/v1/sandboxes/\(id)/network", #"{"mode":"public"}"#).status == 404)
            }
        }
    }

    @Test("The host tells of its networks, or why there are none")
    func host() async throws {
        try await ServerFixture.with(plane: { $0.defaultNetwork = NetworkPolicy(mode: .public) }) { fixture in
            try await fixture.routed { client in
                let without = try #require(try await client.call(.get, "/v1/host").json(HostResource.self).network)
                #expect(!without.available && without.reason == "there is none in tests" && without.subnet == nil)
                fixture.node.offerNetworks()
                let with = try #require(try await client.call(.get, "/v1/host").json(HostResource.self).network)
                #expect(with.available && with.reason == nil && with.subnet == IPv4Prefix("10.201.0.0/16"))
                #expect((with.slots, with.slotsUsed, with.slotsReady) == (16_384, 3, 5))
                #expect(with.defaultMode == .public)
            }
        }
    }

    @Test("Metrics count what was refused by rule, what went through, and slots")
    func metrics() async throws {
        try await ServerFixture.with { fixture in
            fixture.node.offerNetworks()
            let id = try await fixture.create(CreateSandboxRequest(network: NetworkPolicy(mode: .public)))
            let sandbox = try #require(SandboxID(rawValue: id))
            try await fixture.routed { client in
                func value(_ series: String) async throws -> Int {
                    let lines = try await client.call(.get, "/metrics").text.split(separator: "\n")
                    return lines.first { $0.hasPrefix(series + " ") }.flatMap { Int($0.split(separator: " ")[1]) } ?? 0
                }
                let sent = try await value("martlet_network_sent_bytes_total")
                fixture.node.setCounters(of: sandbox, NetworkCounters(sentBytes: 4000, receivedBytes: 9))
                let (known, other) = ("lookup-rate", #"evil" 1"#)
                let before = try await value(#"martlet_network_denied_total{rule="lookup-rate"}"#)
                let unknown = try await value(#"martlet_network_denied_total{rule="other"}"#)
                for rule in [known, other] {
                    fixture.node.deny(
                        sandbox,
                        NetworkDenial(
                            time: Timestamp(milliseconds: 0), kind: .lookup, rule: rule, transport: "udp", count: 7))
                }
                // Ending it takes in what its network counted last, and ends the stream of its events.
                try await fixture.waitForDenials(of: id, 2)
                // A pause that fails took it in already: nothing is counted twice.
                fixture.node.fail(.pause, MartletError(.unavailable, "pause: no"))
                #expect(try await client.call(.post, "/v1/sandboxes/\(id)/pause").status == 503)
                #expect(try await client.call(.delete, "/v1/sandboxes/\(id)").status == 204)
                #expect(try await value(#"martlet_network_denied_total{rule="lookup-rate"}"#) == before + 7)
                #expect(try await value(#"martlet_network_denied_total{rule="other"}"#) == unknown + 7)
                // Sandboxes of other tests in this process may have sent a few bytes meanwhile.
                #expect((4000..<8000).contains(try await value("martlet_network_sent_bytes_total") - sent))
                #expect(try await value(#"martlet_network_slots{state="used"}"#) == 3)
                #expect(try await value(#"martlet_network_slots{state="free"}"#) == 16_384 - 8)
            }
        }
    }
}

extension ServerFixture {
    /// Returns when so many refusals are in a sandbox's history.
    fileprivate func waitForDenials(of id: String, _ count: Int) async throws {
        struct Enough: Error {}
        var found = 0
        do {
            try await plane.sandboxes.history(of: id, after: 0, follow: true, caller: .local) { stored in
                if stored.event.kind == "network_denied" { found += 1 }
                if found == count { throw Enough() }
            }
        } catch is Enough {}
    }
}
