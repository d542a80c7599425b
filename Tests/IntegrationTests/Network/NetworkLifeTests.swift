import Foundation
import MartletAPI
import MartletClient
import SandboxModel
import Testing

/// Networks over the life of a sandbox: pauses, forks, snapshots, and who sees whom.
@Suite(.serialized, .requiresDaemon, .requiresNetworkLab, .timeLimit(.minutes(15))) struct NetworkLifeTests {
    private static let policy = NetworkPolicy(mode: .allowlist, allow: rules("ok.example", "93.184.230.0/24:7002"))

    /// The policy is in force in this sandbox, both what it allows and what it does not.
    private func check(
        _ fixture: DaemonFixture, _ lab: NetworkLab, _ id: String, _ stage: String
    ) async throws -> String {
        let result = try await fixture.client.exec(
            id,
            ExecRequest(
                cmd: .shell(
                    "curl -s -m 20 http://ok.example/quiet/\(stage); cd /root/lab && python3 works.py udp 93.184.230.7 "
                        + "7002; python3 works.py lookup \(stage).bad.example; curl -s -m 20 http://93.184.150.9/\(stage) "
                        + "|| echo refused")))
        let text = result.stdout ?? ""
        #expect(text.hasPrefix("heard\necho:hello\n") && text.hasSuffix("\nrefused\n"), "\(stage): \(text)")
        #expect(try await lab.seen("\(stage).bad.example").isEmpty)
        #expect(try await lab.seen(at: ["93.184.150.9"]).isEmpty)
        let source = try await lab.log().last { $0["target"] == "/quiet/\(stage)" }?["src"]
        return try #require(source, "\(stage): the server was not asked")
    }

    @Test func `a policy holds over pause, fork, rewind and snapshot, from an address of each one's own`() async throws
    {
        try await NetworkLab.with { lab in
            let options = lab.daemonOptions + ["--network-routed", "--pool-warm", "1", "--pool-shells", "2"]
            try await DaemonFixture.with(options, lab: lab) { fixture in
                let sandbox = try await fixture.create(
                    CreateSandboxRequest(timeoutSeconds: 1200, record: true, network: Self.policy))
                try await GuestProbe.install(fixture.client, sandbox.id)
                let first = try await check(fixture, lab, sandbox.id, "created")
                #expect(try await fixture.client.network(sandbox.id).address.map { "\($0)" } == first)
                try await fixture.client.pauseSandbox(sandbox.id)
                try await fixture.client.resumeSandbox(sandbox.id)
                _ = try await check(fixture, lab, sandbox.id, "resumed")
                try await fixture.client.rewindSandbox(sandbox.id, to: 1)
                var addresses = [try await check(fixture, lab, sandbox.id, "rewound")]
                _ = try await fixture.client.createSnapshot(of: sandbox.id, CreateSnapshotRequest(name: "kept"))
                let fork = try await fixture.client.forkSandbox(sandbox.id, ForkSandboxRequest(count: 3))
                let children = fork.forks.compactMap(\.sandbox)
                #expect(children.count == 3, "\(fork)")
                for (number, child) in children.enumerated() {
                    addresses.append(try await check(fixture, lab, child.id, "fork-\(number)"))
                    #expect(try await fixture.client.network(child.id).policy == Self.policy)
                }
                let restored = try await fixture.create(
                    CreateSandboxRequest(timeoutSeconds: 1200, fromSnapshot: "kept"))
                addresses.append(try await check(fixture, lab, restored.id, "restored"))
                #expect(Set(addresses).count == addresses.count, "\(addresses)")
                // They have the same address inside all the same.
                let inner = try await fixture.output(restored, "ip -4 -o address show | grep -c '192.0.0.2/30'")
                #expect(inner == "1")
                fixture.stop()
                try await fixture.start()
                for (number, child) in children.enumerated() {
                    let again = try await check(fixture, lab, child.id, "again-\(number)")
                    #expect(again == addresses[number + 1])
                }
            }
        }
    }

    @Test func `two sandboxes cannot see each other by any address`() async throws {
        try await NetworkLab.with { lab in
            try await DaemonFixture.with(lab.daemonOptions + ["--no-pool"], lab: lab) { fixture in
                let everything = NetworkPolicy(mode: .public)
                let server = try await fixture.guest(everything, lab)
                let other = try await fixture.guest(everything, lab)
                let listener = try await fixture.client.startProcess(
                    server.id,
                    StartProcessRequest(cmd: .shell("cd /tmp && exec python3 -u -m http.server 8000 --bind 0.0.0.0")))
                _ = try await fixture.output(
                    server, "until curl -s -o /dev/null http://127.0.0.1:8000/; do sleep 0.1; done")
                let address = try #require(try await fixture.client.network(server.id).address)
                // The slot, its host's end, its neighbours; and the other one's own.
                let own = try #require(try await fixture.client.network(other.id).address)
                let places = [
                    address, IPv4Address(bits: address.bits - 1), IPv4Address(bits: address.bits - 2),
                    IPv4Address(bits: address.bits + 1), own, IPv4Address(bits: own.bits - 1),
                ]
                try await EventWatch.with(fixture.client, other.id) { watch in
                    let probe = try await GuestProbe.start(fixture.client, other.id)
                    for place in places {
                        for (script, arguments): (String, [String: Argument]) in [
                            ("connect", ["port": 8000]), ("udp", ["port": 7002]), ("ping", [:]),
                        ] {
                            var all = arguments
                            all["address"] = .text("\(place)")
                            let outcome = try await probe.attempt(script, all)
                            #expect(outcome.refused, "\(script) \(place): \(outcome.detail)")
                        }
                        let event = await watch.first { event in
                            event.isDenial("blocked-address") && event.details["address"] == "\(place)"
                        }
                        let told = await watch.denials()
                        #expect(event != nil, "\(place): \(told)")
                    }
                    // Not only loopback: whatever the host listens on is out of reach.
                    let port = try #require(try await fixture.apiPort(lab))
                    for place in ["192.0.0.1", "81.2.69.2", "10.77.0.254", "\(places[1])"] {
                        let outcome = try await probe.attempt(
                            "connect_many", ["address": .text(place), "ports": .list([.number(port), 22])])
                        #expect(outcome.refused, "the API at \(place): \(outcome.detail)")
                    }
                    let answered = try await probe.attempt(
                        "arp", ["operation": 1, "sender": "192.0.0.2", "target": .text("\(address)")])
                    #expect(answered.refused, "\(answered.detail)")
                }
                _ = try await fixture.client.signal(server.id, listener.pid, "SIGTERM")
                var heard = ""
                for try await event in fixture.client.processEvents(server.id, listener.pid) {
                    if case .output(_, let bytes) = event { heard += String(decoding: bytes, as: UTF8.self) }
                }
                // Its own requests, from its own loopback.
                #expect(heard.contains("127.0.0.1 - -"))
                #expect(
                    !heard.split(separator: "\n").contains { $0.contains("GET") && !$0.contains("127.0.0.1") },
                    "\(heard)")
            }
        }
    }

    @Test func `denials are told by every way there is to ask`() async throws {
        try await NetworkLab.with { lab in
            try await DaemonFixture.with(lab.daemonOptions + ["--no-pool"], lab: lab) { fixture in
                let sandbox = try await fixture.guest(Self.policy, lab)
                _ = try await fixture.shell(
                    sandbox,
                    "cd /root/lab && python3 works.py lookup told.bad.example; curl -s -m 20 http://93.184.151.7/")
                try await EventWatch.with(fixture.client, sandbox.id) { watch in
                    let byName = await watch.first { $0.details["name"] == "told.bad.example" }
                    let byAddress = await watch.first { $0.details["address"] == "93.184.151.7" }
                    #expect(byName?.kind == "network_denied" && byAddress?.details["port"] == "80")
                }
                let logs = try await fixture.cli("logs", "--network", sandbox.id)
                #expect(logs.code == 0 && logs.output.contains("told.bad.example"), "\(logs)")
                #expect(logs.output.contains("93.184.151.7"), "\(logs)")
                let counters = try #require(try await fixture.client.network(sandbox.id).counters)
                #expect(counters.denied >= 2)
                let metrics = try await lab.run(
                    "curl", "-s", "--unix-socket", "\(fixture.data)/api.sock", "http://host/metrics")
                #expect(metrics.contains("network_denied_total{rule=\"lookup-not-allowed\"}"), "\(metrics)")
            }
        }
    }

    @Test func `a sandbox has no network unless asked, and the operator may open what is blocked`() async throws {
        try await NetworkLab.with { lab in
            try await DaemonFixture.with(
                lab.daemonOptions + ["--no-pool", "--network-open", "10.77.0.1:80"], lab: lab
            ) { fixture in
                let closed = try await fixture.guest(.closed, lab)
                #expect(
                    try await fixture.output(closed, "curl -s -m 20 http://93.184.140.1/ || echo refused") == "refused")
                let plain = try await fixture.create()
                #expect(plain.network?.mode == NetworkPolicy.Mode.none)
                let open = try await fixture.guest(NetworkPolicy(mode: .public), lab)
                #expect(try await fixture.output(open, "curl -s -m 20 http://10.77.0.1/quiet") == "heard")
                #expect(
                    try await fixture.output(open, "curl -s -m 20 http://10.77.0.1:8080/ || echo refused") == "refused")
                #expect(
                    try await fixture.output(open, "curl -s -m 20 http://169.254.169.254/ || echo refused") == "refused"
                )
            }
        }
    }
}

extension DaemonFixture {
    /// Where the daemon takes requests over TCP, on its host's loopback.
    fileprivate func apiPort(_ lab: NetworkLab) async throws -> Int? {
        let sockets = try await lab.run("ss", "-Hltnp")
        let line = sockets.split(separator: "\n").first { $0.contains("martlet") && $0.contains("127.0.0.1:") }
        return line?.split(separator: " ").first { $0.hasPrefix("127.0.0.1:") }
            .flatMap { Int($0.dropFirst("127.0.0.1:".count)) }
    }
}
