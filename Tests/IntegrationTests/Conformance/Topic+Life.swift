import MartletAPI
import MartletClient
import NIOCore
import SandboxModel
import Testing

extension Topic {
    static let life = Topic(
        name: "life",
        promises: [
            Promise("a deleted sandbox is gone, and nothing of it is left") { world in
                let before = world.fixture.machineDirectories().count
                let other = try await world.create()
                _ = try await world.output("(setsid sleep 4713 &); echo x", in: other)
                try await world.client.deleteSandbox(other.id)
                #expect(await world.failure { _ = try await world.client.sandbox(other.id) }?.code == .notFound)
                #expect(world.fixture.machineDirectories().count == before)
            },
            Promise("a sandbox that ends itself is told as failed") { world in
                let other = try await world.create()
                let events = world.client.events(other.id)
                // The agent, or what switches the machine off where there is one.
                // Firecracker's machines have no power to switch off, and end by a restart.
                let key = world.wall == .firecracker ? "b" : "o"
                let line = "kill -9 1; echo \(key) > /proc/sysrq-trigger; sleep 2"
                let result = try? await world.run(ExecRequest(cmd: .shell(line), timeoutSeconds: 20), in: other)
                if world.wall.hasOwnKernel || result == nil {
                    for try await event in events where event.details["to"] == "failed" { break }
                } else {
                    // It cannot: no program of it may end the agent.
                    try await world.expect("echo alive", in: other, prints: "alive")
                }
                try await world.client.deleteSandbox(other.id)
            },
            Promise("a sandbox whose time is over is gone") { world in
                let other = try await world.create { $0.timeoutSeconds = 1 }
                for try await _ in world.client.events(other.id) {}
                #expect(await world.failure { _ = try await world.client.sandbox(other.id) }?.code == .notFound)
            },
            Promise("a longer time may be asked for") { world in
                let other = try await world.create { $0.timeoutSeconds = 60 }
                let later = try await world.client.updateSandbox(other.id, UpdateSandboxRequest(timeoutSeconds: 600))
                #expect(try #require(later.expiresAt) > #require(other.expiresAt))
                try await world.client.deleteSandbox(other.id)
            },
            Promise("several sandboxes run side by side") { world in
                let made = try await withThrowingTaskGroup(of: SandboxResource.self) { group in
                    for _ in 0..<4 { group.addTask { try await world.create() } }
                    return try await group.reduce(into: [SandboxResource]()) { $0.append($1) }
                }
                for (index, one) in made.enumerated() {
                    _ = try await world.shell("echo \(index) > /tmp/mine", in: one)
                }
                for (index, one) in made.enumerated() {
                    try await world.expect("cat /tmp/mine", in: one, prints: "\(index)")
                    try await world.client.deleteSandbox(one.id)
                }
            },
            Promise("sandboxes and their processes outlive the daemon") { world in
                let process = try await world.start(
                    StartProcessRequest(cmd: .shell("n=0; while :; do n=$((n+1)); echo line $n; sleep 0.05; done")))
                _ = try await world.output("echo marker > /root/file")
                world.fixture.kill()
                try await world.fixture.start()
                #expect(try await world.client.sandbox(world.sandbox.id).state == .running)
                try await world.expect("cat /root/file", prints: "marker")
                #expect(try await world.client.process(world.sandbox.id, process.pid).running)
                #expect(try await world.wait(for: "line 3", from: process.pid).hasPrefix("line 1\n"))
                try await world.client.killProcess(world.sandbox.id, process.pid)
                let other = try await world.create()
                try await world.expect("echo new", in: other, prints: "new")
                try await world.client.deleteSandbox(other.id)
            },
            Promise("what a killed daemon was making is cleared away") { world in
                let before = Set(world.fixture.machineDirectories())
                let creates = Task { [client = world.client, wall = world.wall] in
                    for _ in 0..<10 {
                        _ = try? await client.createSandbox(CreateSandboxRequest(isolation: wall.rawValue))
                    }
                }
                try await Task.sleep(for: .milliseconds(120))
                world.fixture.kill()
                creates.cancel()
                await creates.value
                try await world.fixture.start()
                for known in try await world.client.allSandboxes() where known.id != world.sandbox.id {
                    try await world.client.deleteSandbox(known.id)
                }
                #expect(Set(world.fixture.machineDirectories()) == before)
                #expect(world.fixture.containers() == (world.wall.hasOwnKernel ? 0 : 1))
            },
        ])

    static let network = Topic(
        name: "network",
        promises: [
            Promise("the guest has the address every guest has") { world in
                try await world.expect(
                    "ip -4 -o addr show eth0 2>/dev/null | grep -c 192.0.0.2/30 || grep -c eth0 /proc/net/dev",
                    prints: "1")
            },
            Promise("without a policy nothing is reached") { world in
                let probe = """
                    import socket
                    def attempt(address, port):
                        try:
                            socket.create_connection((address, port), 3).close()
                            return "open"
                        except OSError: return "shut"
                    print(attempt("1.1.1.1", 80), attempt("192.0.0.1", 15001), attempt("169.254.169.254", 80))
                    """
                try await world.expect(
                    ExecRequest(cmd: .arguments(["python3", "-c", probe])), prints: "shut shut shut\n")
            },
            Promise("refusals are told") { world in
                _ = try await world.run(
                    ExecRequest(cmd: .shell("timeout 3 bash -c 'echo > /dev/tcp/198.51.100.7/80'; true")))
                var told: [SandboxEvent] = []
                for try await event in world.client.events(world.sandbox.id) {
                    if event.kind == "network_denied" { told.append(event) }
                    if event.details["address"] == "198.51.100.7" { break }
                }
                #expect(told.contains { $0.details["rule"] == "network-off" })
            },
            Promise("names are not looked up") { world in
                let lookup = try await world.shell("timeout 10 getent hosts example.com")
                #expect(lookup.exitCode != 0)
            },
            Promise("loopback works") { world in
                let probe = """
                    import socket, threading
                    s = socket.create_server(("127.0.0.1", 0))
                    threading.Thread(target=lambda: s.accept()[0].sendall(b"hi")).start()
                    print(socket.create_connection(s.getsockname()).recv(2).decode())
                    """
                try await world.expect(ExecRequest(cmd: .arguments(["python3", "-c", probe])), prints: "hi\n")
            },
            Promise("low ports may be served") { world in
                let probe = "import socket; socket.create_server(('127.0.0.1', 80)).close(); print('ok')"
                try await world.expect(ExecRequest(cmd: .arguments(["python3", "-c", probe])), prints: "ok\n")
            },
            Promise("a service is reached through a tunnel") { world in
                let server = try await world.start(
                    StartProcessRequest(
                        cmd: .arguments([
                            "python3", "-u", "-c",
                            """
                            import socket
                            s=socket.create_server(('127.0.0.1',8123))
                            print('up',flush=True)
                            while True:
                              c,_=s.accept(); c.sendall(c.recv(100).upper()); c.close()
                            """,
                        ])))
                _ = try await world.wait(for: "up", from: server.pid)
                let answer = try await world.client.withTunnel(world.sandbox.id, port: 8123) { tunnel in
                    try await tunnel.write(.init(string: "hello"))
                    var text = ""
                    for try await piece in tunnel { text += String(buffer: piece) }
                    return text
                }
                #expect(answer == "HELLO")
                try await world.client.killProcess(world.sandbox.id, server.pid)
            },
            Promise("a policy is changed while the sandbox runs") { world in
                let changed = try await world.client.setNetwork(
                    world.sandbox.id, NetworkPolicy(mode: .allowlist, allow: [NetworkRule("203.0.113.0/24")!]))
                #expect(changed.network?.mode == .allowlist)
                _ = try await world.client.setNetwork(world.sandbox.id, .closed)
                let seen = try await world.client.network(world.sandbox.id)
                #expect(seen.policy.mode == .none)
            },
            Promise("what goes through is counted") { world in
                _ = try await world.shell("timeout 2 bash -c 'echo > /dev/udp/1.1.1.1/9'; true")
                let metrics = try await world.client.metrics(world.sandbox.id)
                #expect(try #require(metrics.network).denied > 0)
            },
        ])
}
