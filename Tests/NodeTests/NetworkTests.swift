import Foundation
import GuestClient
import GuestProtocol
import HostNetwork
import LinuxSystem
import NIOPosix
import SandboxEngine
import SandboxModel
import Testing

@testable import Node

@Suite(.serialized, .requiresTemplate, .requiresNetwork, .timeLimit(.minutes(5))) struct NetworkTests {
    @Test func `a guest has the address all have, and reaches nothing unless it may`() async throws {
        try await NodeFixture.withNetwork { fixture, network in
            let sandbox = try await fixture.create(.closed)
            let address = try #require(sandbox.networkAddress)
            #expect(address != GuestNetwork.address)
            let seen = try await fixture.shell(
                """
                ip -4 -o address show dev eth0; ip route; cat /etc/resolv.conf
                cat /sys/class/net/eth0/address /sys/class/net/eth0/mtu /proc/sys/net/ipv6/conf/eth0/disable_ipv6
                ip -6 -o address show dev eth0; ip -6 -o address show dev lo
                """, in: sandbox)
            for expected in [
                "inet 192.0.0.2/30", "default via 192.0.0.1 dev eth0", "nameserver 192.0.0.1", GuestNetwork.guestMAC,
                "\n1500\n1\n", "inet6 ::1/128",
            ] {
                #expect(seen.contains(expected), "\(expected): \(seen)")
            }
            #expect(!seen.contains("fe80"))
            // Checksums and segments are left to the host, both ways, and nobody is told that it is there.
            let offloads = Array(try await fixture.shell("cat /sys/class/net/eth0/device/features", in: sandbox))
            #expect([0, 1, 7, 11].allSatisfy { offloads[$0] == "1" } && offloads[21] == "0", "\(offloads)")
            // It has said nothing by itself.
            #expect(try await fixture.node.networkCounters(of: sandbox.id).denied == 0)
            async let denied = fixture.nextDenial()
            #expect(try await fixture.outerAddress(of: sandbox) == "")
            let denial = try #require(await denied)
            #expect(denial.sandbox == sandbox.id && denial.denial.address == "\(NetworkLab.internetAddress)")
            #expect(denial.denial.port == Internet.port)
            guard case .available(let report) = await fixture.node.report().network else {
                Issue.record("the node tells of no network")
                return
            }
            #expect(report.used == 1)
            try await fixture.destroy(sandbox)
            #expect(await network.report().used == 0)
        }
    }

    @Test func `sandboxes and forks talk at the same time, each from an address of its own`() async throws {
        try await NodeFixture.withNetwork { fixture, network in
            let first = try await fixture.create(NodeFixture.publicNetwork)
            let second = try await fixture.create(NodeFixture.publicNetwork)
            // Its own connection is the parent's alone: a child hears that it has ended, and can make another.
            try await fixture.startResident(NetworkTests.talker, in: first)
            #expect(try await fixture.ask("talk", in: first) == "x")
            let children = try await fixture.fork(.sandbox(first.id), 4, NodeFixture.publicNetwork)
            #expect(try await fixture.ask("talk", in: first) == "x")
            let all = [first, second] + children
            let outer = try await withThrowingTaskGroup(of: String.self) { group in
                for sandbox in all { group.addTask { try await fixture.outerAddress(of: sandbox) } }
                return try await group.reduce(into: Set<String>()) { $0.insert($1) }
            }
            #expect(outer == Set(all.compactMap { $0.networkAddress?.description }) && outer.count == all.count)
            for child in children {
                let heard = try await fixture.ask("talk", in: child)
                #expect(["ECONNABORTED", "ECONNRESET"].contains(heard), "\(heard)")
            }
            // What a fork is not given it does not have, whatever its parent may do.
            let closed = try await fixture.fork(.sandbox(first.id), 1, .closed)[0]
            #expect(try await fixture.outerAddress(of: closed) == "")
            #expect(await network.report().used == all.count + 1)
            try await fixture.destroy(all + [closed])
            #expect(await network.report().used == 0)
        }
    }

    @Test func `what goes on after a pause, a rewind or a boot has a network that works`() async throws {
        try await NodeFixture.withNetwork { fixture, network in
            let sandbox = try await fixture.create(NodeFixture.publicNetwork)
            let id = sandbox.id
            try await fixture.startResident(NetworkTests.talker, in: sandbox)
            #expect(try await fixture.ask("talk", in: sandbox) == "x")
            let snapshot = try await fixture.node.snapshot(id, as: SnapshotSpec(id: .random()))
            _ = try await fixture.node.pause(id)
            #expect(await fixture.eventually { await network.report().used == 0 })
            let resumed = try await fixture.node.resume(id, from: .memory, network: NodeFixture.publicNetwork)
            #expect(try await fixture.outerAddress(of: resumed) == resumed.networkAddress?.description)
            // The old connection came from another address: it ends at once, instead of waiting for what never comes.
            #expect(try await fixture.ask("talk", in: resumed) == "ECONNRESET")
            let rewound = try await fixture.node.rewind(id, to: snapshot.id, network: NodeFixture.publicNetwork)
            #expect(try await fixture.outerAddress(of: rewound) == rewound.networkAddress?.description)
            #expect(try await fixture.ask("talk", in: rewound) == "ECONNABORTED")
            let booted = try await fixture.node.resume(id, from: .disk, network: NodeFixture.publicNetwork)
            #expect(try await fixture.outerAddress(of: booted) == booted.networkAddress?.description)
            // Booted here, it can be paused and resumed like any other.
            _ = try await fixture.node.pause(id)
            let again = try await fixture.node.resume(id, from: .memory, network: .closed)
            #expect(try await fixture.outerAddress(of: again) == "")
            try await fixture.node.removeSnapshot(snapshot.id)
            try await fixture.destroy(again)
            #expect(await fixture.eventually { await network.report().used == 0 })
        }
    }

    @Test func `a policy is changed under a running sandbox, and what it does not allow ends`() async throws {
        try await NodeFixture.withNetwork { fixture, _ in
            let sandbox = try await fixture.create(.closed)
            let before = try await fixture.node.networkCounters(of: sandbox.id)
            try await fixture.node.setNetwork(of: sandbox.id, NodeFixture.publicNetwork)
            try await fixture.startResident(NetworkTests.talker, in: sandbox)
            #expect(try await fixture.ask("talk", in: sandbox) == "x")
            let after = try await fixture.node.networkCounters(of: sandbox.id)
            #expect(after.sentBytes > before.sentBytes && after.receivedPackets > before.receivedPackets)
            try await fixture.node.setNetwork(of: sandbox.id, .closed)
            #expect(try await fixture.ask("talk", in: sandbox) == "ECONNRESET")
            #expect(try await fixture.outerAddress(of: sandbox) == "")
            #expect(try await fixture.node.networkCounters(of: sandbox.id).denied > after.denied)
            try await fixture.destroy(sandbox)
        }
    }

    @Test func `warm guests, shells and what is started for one have a network alike`() async throws {
        let pool = PoolConfiguration(shells: 1, warm: 1, hotTemplates: [])
        try await NodeFixture.withNetwork(pool: pool) { fixture, network in
            var modes: Set<CreateReport.Mode> = []
            for _ in 0..<8 where modes.count < 3 {
                let sandbox = try await fixture.create(NodeFixture.publicNetwork)
                #expect(try await fixture.outerAddress(of: sandbox) == sandbox.networkAddress?.description)
                modes.insert(sandbox.report.mode)
                let isReady = modes.count
                if isReady == 1 {
                    #expect(await fixture.eventually { await fixture.readyMachines() == 2 })
                }
                try await fixture.destroy(sandbox)
            }
            #expect(modes.isSuperset(of: [.warm, .cold]) || modes.isSuperset(of: [.warm, .baked]), "\(modes)")
            #expect(await fixture.eventually { await fixture.readyMachines() == 2 })
            // Those that wait have slots as well.
            #expect(await network.report().used == 2)
        }
    }

    @Test func `a sandbox taken over keeps its network, and its policy is in force`() async throws {
        try await NetworkLab.with { lab in
            try await Internet.serving(lab) {
                try await NodeFixture.withDirectory { directory in
                    let (open, closed) = (SandboxID.random(), SandboxID.random())
                    try await NodeFixture.live(in: directory, on: lab, stopsSandboxes: false) { fixture, _ in
                        for (id, network) in [(open, NodeFixture.publicNetwork), (closed, .closed)] {
                            let sandbox = try await fixture.node.create(
                                SandboxSpec(id: id, template: "base", hostname: "one", network: network))
                            if id == open { try await fixture.startResident(NetworkTests.talker, in: sandbox) }
                        }
                    }
                    #expect(try await NodeFixture.slotLinks(lab).count == 2)
                    try await NodeFixture.live(in: directory, on: lab) { fixture, network in
                        let found = await fixture.node.sandboxes()
                        let adopted = try #require(found.first { $0.id == open })
                        let other = try #require(found.first { $0.id == closed })
                        #expect(adopted.isAdopted && adopted.networkAddress != nil)
                        #expect(try await fixture.outerAddress(of: adopted) == adopted.networkAddress?.description)
                        #expect(try await fixture.ask("talk", in: adopted) == "x", "its connection has not outlived")
                        #expect(try await fixture.outerAddress(of: other) == "")
                        try await fixture.node.setNetwork(of: open, .closed)
                        #expect(try await fixture.outerAddress(of: adopted) == "")
                        try await fixture.destroy(found)
                        #expect(await network.report().used == 0)
                    }
                    #expect(try await NodeFixture.slotLinks(lab).isEmpty)
                }
            }
        }
    }

    @Test func `a sandbox whose slot cannot be taken over is ended`() async throws {
        try await NetworkLab.with { lab in
            try await NodeFixture.withDirectory { directory in
                try await NodeFixture.live(in: directory, on: lab, stopsSandboxes: false) { fixture, _ in
                    _ = try await fixture.create(.closed)
                }
                #expect(await NodeFixture.emulators(in: directory).count == 1)
                // A daemon that has no network could not say what the sandbox reaches.
                try await NodeFixture.live(in: directory) { fixture in
                    #expect(await fixture.node.sandboxes().isEmpty)
                    #expect(fixture.list("machines").isEmpty)
                }
                #expect(await NodeFixture.emulators(in: directory).isEmpty)
                try await NodeFixture.live(in: directory, on: lab) { _, network in
                    #expect(await network.report().used == 0)
                }
                #expect(try await NodeFixture.slotLinks(lab).isEmpty)
            }
        }
    }

    @Test func `captures with and without a card go on where their kind is to be had`() async throws {
        try await NetworkLab.with { lab in
            try await Internet.serving(lab) {
                try await NodeFixture.withDirectory { directory in
                    let (bare, carded) = (SandboxID.random(), SandboxID.random())
                    @Sendable func make(_ id: SandboxID, _ fixture: NodeFixture) async throws {
                        _ = try await fixture.node.create(SandboxSpec(id: id, template: "base", hostname: "one"))
                        _ = try await fixture.node.pause(id)
                    }
                    try await NodeFixture.live(in: directory) { fixture in
                        try await make(bare, fixture)
                        let error = await #expect(throws: MartletError.self) {
                            try await fixture.create(NodeFixture.publicNetwork)
                        }
                        #expect(error?.code == .unsupported)
                    }
                    try await NodeFixture.live(in: directory, on: lab) { fixture, network in
                        try await make(carded, fixture)
                        let error = await #expect(throws: MartletError.self) {
                            try await fixture.node.resume(bare, from: .memory, network: NodeFixture.publicNetwork)
                        }
                        #expect(error?.code == .unsupported)
                        let resumed = try await fixture.node.resume(bare, from: .memory, network: .closed)
                        #expect(resumed.networkAddress == nil)
                        #expect(await network.report().used == 0)
                        // A kernel that boots finds the card there is now.
                        let booted = try await fixture.node.resume(
                            bare, from: .disk, network: NodeFixture.publicNetwork)
                        #expect(try await fixture.outerAddress(of: booted) == booted.networkAddress?.description)
                        try await fixture.destroy(booted)
                    }
                    try await NodeFixture.live(in: directory) { fixture in
                        let error = await #expect(throws: MartletError.self) {
                            try await fixture.node.resume(carded, from: .memory, network: .closed)
                        }
                        #expect(error?.code == .failedPrecondition && error?.details["reason"] == "incompatible")
                        let booted = try await fixture.node.resume(carded, from: .disk, network: .closed)
                        #expect(try await fixture.shell("ls /sys/class/net", in: booted) == "lo")
                        try await fixture.destroy(booted)
                    }
                }
            }
        }
    }

    @Test func `a sandbox with secrets sees placeholders, and trusts an authority of its own`() async throws {
        try await NodeFixture.withNetwork { fixture, _ in
            let network = try NetworkTests.secrets("API_KEY", "mp_one")
            let sandbox = try await fixture.create(network, environment: ["CURL_CA_BUNDLE=/own"])
            let id = sandbox.id
            let variables = "echo $API_KEY,$OTHER_KEY,$SSL_CERT_FILE,$CURL_CA_BUNDLE"
            let bundle = "/run/martlet/ca-bundle.pem"
            #expect(try await fixture.shell(variables, in: sandbox) == "mp_one,,\(bundle),/own")
            #expect(try await fixture.trusted(in: sandbox) == "1 1")
            let everything = "cat /proc/1/environ /run/martlet/* /etc/ssl/certs/ca-certificates.crt; env"
            #expect(try await !fixture.shell(everything, in: sandbox).contains("the real one"))
            // What keeps the system's bundle rewrites it, as in every upgrade of it.
            _ = try await fixture.shell("update-ca-certificates >/dev/null 2>&1", in: sandbox)
            #expect(try await fixture.trusted(in: sandbox) == "1 1")
            // A fork has what it is given, and no more.
            let child = try await fixture.fork(.sandbox(id), 1, .closed)[0]
            #expect(try await fixture.shell(variables, in: child) == ",,,")
            let another = try NetworkTests.secrets("OTHER_KEY", "mp_two")
            let other = try await fixture.fork(.sandbox(id), 1, another)[0]
            #expect(try await fixture.shell(variables, in: other) == ",mp_two,\(bundle),\(bundle)")
            #expect(try await fixture.trusted(in: other) == "1 1", "the parent's authority is still trusted")
            // Secrets that come later, and those that are there after a pause.
            try await fixture.node.setNetwork(of: id, another)
            #expect(try await fixture.shell(variables, in: sandbox) == "mp_one,mp_two,\(bundle),/own")
            _ = try await fixture.node.pause(id)
            let resumed = try await fixture.node.resume(id, from: .memory, network: another)
            #expect(try await fixture.shell(variables, in: resumed) == "mp_one,mp_two,\(bundle),/own")
            let booted = try await fixture.node.resume(id, from: .disk, network: another)
            #expect(try await fixture.shell(variables, in: booted) == ",mp_two,\(bundle),/own")
            #expect(try await fixture.trusted(in: booted) == "1 1")
            for name in fixture.list("machines") {
                let file = try String(
                    contentsOfFile: "\(fixture.directory)/machines/\(name)/sandbox.json", encoding: .utf8)
                #expect(!file.contains("the real one") && !file.contains("PRIVATE KEY") && file.contains("policy"))
            }
            try await fixture.destroy([child, other, booted])
        }
    }

    private static func secrets(_ name: String, _ placeholder: String) throws -> SandboxNetwork {
        let host = try #require(HostPattern("api.example.com"))
        return SandboxNetwork(
            policy: .closed,
            secrets: [NetworkSecret(name: name, placeholder: placeholder, value: "the real one", hosts: [host])],
            authority: try NetworkAuthority.make(for: .random()))
    }

    /// Holds one connection to the server from its start on.
    private static let talker = """
        import errno, socket
        end = socket.create_connection(('\(NetworkLab.internetAddress)', \(Internet.port)), timeout=20)
        stream = end.makefile('rb')
        stream.readline()
        def answer(question):
            try:
                end.sendall(b'x')
                return stream.read(1).decode() or 'closed'
            except OSError as error: return errno.errorcode.get(error.errno, 'timeout')
        """
}

extension NodeFixture {
    /// The next refusal the node tells of.
    fileprivate func nextDenial() async -> NodeDenial? {
        for await denial in node.denials { return denial }
        return nil
    }

    /// How many authorities of sandboxes programs trust: those that are told of the bundle, and those that are not.
    fileprivate func trusted(in sandbox: NodeSandbox) async throws -> String {
        let count =
            "import ssl; print(sum('Martlet sandbox' in str(c) for c in ssl.create_default_context().get_ca_certs()))"
        let script = "set -- \"$(python3 -c \"$1\")\" \"$(env -u SSL_CERT_FILE python3 -c \"$1\")\"; echo \"$1 $2\""
        return try await output(of: "/bin/sh", "-c", script, "sh", count, in: sandbox)
    }

    /// How many machines wait to be handed out.
    fileprivate func readyMachines() async -> Int {
        await node.report().pools.reduce(0) { $0 + $1.shells + $1.warm }
    }
}
