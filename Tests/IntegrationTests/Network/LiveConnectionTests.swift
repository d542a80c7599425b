import Foundation
import MartletAPI
import MartletClient
import SandboxModel
import Testing

/// What happens to connections that are in use: when a policy changes, when there are too many, when the daemon is gone.
@Suite(.serialized, .requiresDaemon, .requiresNetworkLab, .timeLimit(.minutes(15))) struct LiveConnectionTests {
    /// A program in the guest that says when its connection is in use and when it is over.
    private struct Connection {
        let name: String
        let pid: Int32
        var output: ProcessEvents.AsyncIterator
        private var text = ""

        init(_ fixture: DaemonFixture, _ sandbox: SandboxResource, _ name: String, _ words: String...) async throws {
            let process = try await fixture.client.startProcess(
                sandbox.id,
                StartProcessRequest(
                    cmd: .arguments(["python3", "-u", "works.py"] + words), cwd: "/root/lab"))
            self.name = name
            pid = process.pid
            output = fixture.client.processEvents(sandbox.id, process.pid).makeAsyncIterator()
        }

        /// Waits until it says this; what it says else, if it ends without.
        mutating func waits(for word: String) async throws -> String {
            while !text.contains(word), let event = try await output.next() {
                if case .output(_, let bytes) = event { text += String(decoding: bytes, as: UTF8.self) }
            }
            return text
        }
    }

    private static let policy = NetworkPolicy(
        mode: .allowlist,
        allow: rules("ok.example", "tcp.example:7001", "93.184.232.0/24:7001", "93.184.230.0/24:7002"))

    private func with(
        _ policy: NetworkPolicy, _ body: (NetworkLab, DaemonFixture, SandboxResource) async throws -> Void
    ) async throws {
        try await NetworkLab.with { lab in
            try await DaemonFixture.with(lab.daemonOptions + ["--no-pool"], lab: lab) { fixture in
                try await body(lab, fixture, try await fixture.guest(policy, lab))
            }
        }
    }

    @Test func `a policy that is tightened ends what it does not allow, and only that`() async throws {
        try await with(Self.policy) { lab, fixture, sandbox in
            var connections = [
                try await Connection(fixture, sandbox, "HTTP by name", "stay", "ok.example", "80", "http", "900"),
                try await Connection(fixture, sandbox, "echo by name", "stay", "tcp.example", "7001", "echo", "900"),
                try await Connection(fixture, sandbox, "echo by range", "stay", "93.184.232.1", "7001", "echo", "900"),
                try await Connection(fixture, sandbox, "UDP by range", "watch_udp", "93.184.230.7", "7002", "900"),
            ]
            var kept = try await Connection(
                fixture, sandbox, "what stays allowed", "stay", "93.184.232.2", "7001", "echo", "900")
            for index in connections.indices {
                #expect(
                    try await connections[index].waits(for: "in use").contains("in use"), "\(connections[index].name)")
            }
            #expect(try await kept.waits(for: "in use").contains("in use"))
            try await fixture.client.setNetwork(
                sandbox.id, NetworkPolicy(mode: .allowlist, allow: rules("two.example", "93.184.232.2:7001")))
            for index in connections.indices {
                #expect(
                    try await connections[index].waits(for: "over").contains("over"), "\(connections[index].name)")
            }
            #expect(try await fixture.client.process(sandbox.id, kept.pid).running)
            #expect(try await fixture.output(sandbox, "curl -s -m 30 http://ok.example/after; echo $?") != "0")
            #expect(try await fixture.output(sandbox, "curl -s -m 30 http://two.example/quiet") == "heard")
            try await fixture.client.setNetwork(sandbox.id, .closed)
            #expect(try await kept.waits(for: "over").contains("over"))
            try await fixture.client.setNetwork(sandbox.id, Self.policy)
            #expect(try await fixture.output(sandbox, "curl -s -m 30 http://ok.example/quiet") == "heard")
        }
    }

    @Test func `mode public ends with its policy too`() async throws {
        try await with(NetworkPolicy(mode: .public)) { lab, fixture, sandbox in
            var connections = [
                try await Connection(fixture, sandbox, "TCP", "stay", "93.184.232.1", "7001", "echo", "900"),
                try await Connection(fixture, sandbox, "UDP", "watch_udp", "93.184.230.7", "7002", "900"),
            ]
            for index in connections.indices {
                #expect(
                    try await connections[index].waits(for: "in use").contains("in use"), "\(connections[index].name)")
            }
            try await fixture.client.setNetwork(
                sandbox.id, NetworkPolicy(mode: .public, deny: rules("93.184.232.0/24", "93.184.230.0/24")))
            for index in connections.indices {
                #expect(
                    try await connections[index].waits(for: "over").contains("over"), "\(connections[index].name)")
            }
            #expect(try await fixture.output(sandbox, "curl -s -m 30 http://93.184.140.1/quiet") == "heard")
        }
    }

    @Test(arguments: [LabPolicy.open, .allowlist]) func `connections at once are limited`(_ mode: LabPolicy)
        async throws
    {
        var policy = mode == .open ? NetworkPolicy(mode: .public) : Self.policy
        policy.maxConnections = 10
        try await with(policy) { lab, fixture, sandbox in
            let target = mode == .open ? "93.184.232.1" : "tcp.example"
            try await EventWatch.with(fixture.client, sandbox.id) { watch in
                let count = try await fixture.output(
                    sandbox, "cd /root/lab && python3 works.py open_connections \(target) 7001 16")
                // A look-up may take one of the places.
                #expect(["9", "10"].contains(count), "\(count)")
                let event = await watch.first { $0.isDenial("connection-limit") }
                let told = await watch.denials()
                #expect(event != nil, "\(told)")
                #expect(
                    try await fixture.output(
                        sandbox, "cd /root/lab && python3 works.py open_connections \(target) 7001 5") == "5")
            }
        }
    }

    @Test func `a rate is kept to`() async throws {
        var policy = NetworkPolicy(mode: .public)
        policy.rateMbps = 8
        try await with(policy) { lab, fixture, sandbox in
            // 4 MB at a megabyte a second: a lower bound is no matter of how busy the host is.
            let seconds = try await fixture.output(
                sandbox, "curl -s -o /dev/null -w '%{time_total} %{size_download}' http://ok.example/bytes/4000000")
            let parts = seconds.split(separator: " ")
            #expect(parts.last == "4000000")
            #expect((parts.first.flatMap { Double($0) } ?? 0) > 2.5, "\(seconds)")
        }
    }

    @Test func `without a daemon nothing is reached by name, and with the next one everything again`() async throws {
        try await with(Self.policy) { lab, fixture, sandbox in
            // After each try a datagram that needs no daemon tells that it was made.
            let loop = """
                n=0; while :; do n=$((n+1)); curl -s -m 2 -o /dev/null http://ok.example/loop/$n && echo ok $n
                python3 works.py udp 93.184.230.7 7002 > /dev/null; done
                """
            let process = try await fixture.client.startProcess(
                sandbox.id, StartProcessRequest(cmd: .shell(loop), cwd: "/root/lab"))
            try await ticks(lab, 2, from: 0)
            fixture.kill()
            // What was on its way has arrived when the first datagram after it has.
            let killed = try await lab.mark()
            try await ticks(lab, 1, from: killed)
            let closed = try await lab.mark()
            try await ticks(lab, 3, from: closed)
            let requests = try await lab.log(from: closed).filter { $0["server"] == "http" || $0["server"] == "dns" }
            #expect(requests.isEmpty, "\(requests)")
            try await fixture.start()
            let started = try await lab.mark()
            try await ticks(lab, 3, from: started)
            #expect(try await lab.log(from: started).contains { $0["server"] == "http" })
            try await fixture.client.killProcess(sandbox.id, process.pid)
            #expect(try await fixture.output(sandbox, "curl -s -m 30 http://ok.example/quiet") == "heard")
            #expect(try await fixture.client.network(sandbox.id).policy == Self.policy)
        }
    }

    /// Waits until this many datagrams have arrived. The suite's time limit bounds it.
    private func ticks(_ lab: NetworkLab, _ count: Int, from start: Int) async throws {
        while try await lab.log(from: start).filter({ $0["server"] == "udp" }).count < count {
            try await Task.sleep(for: .milliseconds(50))
        }
    }
}
