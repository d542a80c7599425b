import LinuxSystem
import MartletAPI
import MartletClient
import SandboxModel
import Testing

/// Isolation `firecracker`, where there is KVM and where there is none; what it has in common with the other walls is
/// looked at by `ConformanceTests`.
@Suite(.serialized, .requiresDaemon, .timeLimit(.minutes(10))) struct FirecrackerTests {
    @Test(.enabled(if: !Wall.hasKVM, "this processor virtualises"))
    func `without KVM it is refused with the reason and what to choose instead`() async throws {
        try await DaemonFixture.with(["--no-pool"]) { fixture in
            let error = await #expect(throws: MartletError.self) {
                try await fixture.create(CreateSandboxRequest(isolation: "firecracker"))
            }
            #expect(
                error?.code == .unsupported && error?.details["field"] == "isolation", "\(String(describing: error))")
            for word in ["engine firecracker", "virtualisation extension", "'microvm'", "'gvisor'"] {
                #expect(error?.message.contains(word) == true, "\(word): \(error?.message ?? "")")
            }
            let engines = try await fixture.client.host().engines
            let engine = try #require(engines.first { $0.name == "firecracker" })
            #expect(!engine.available && engine.level == nil)
            #expect(engine.reason.contains("virtualisation extension"), "\(engine.reason)")
            #expect(fixture.machineDirectories().isEmpty)
            // Nobody else is the worse for it.
            let sandbox = try await fixture.create()
            #expect(try await fixture.output(sandbox, "echo up") == "up")
        }
    }

    @Test(.enabled(if: !Wall.hasKVM, "this processor virtualises"))
    func `as everybody's default it is refused all the same, and a wall asked for by name is made`() async throws {
        try await DaemonFixture.with(["--no-pool", "--default-isolation", "firecracker"]) { fixture in
            let error = await #expect(throws: MartletError.self) { try await fixture.create() }
            #expect(error?.code == .unsupported && error?.message.contains("engine firecracker") == true)
            let sandbox = try await fixture.create(CreateSandboxRequest(isolation: "microvm"))
            #expect(sandbox.isolation.engine == "qemu")
        }
    }

    @Test(.requires(.firecracker))
    func `clones have a clock, an identity and a network of their own`() async throws {
        try await DaemonFixture.with { fixture in
            let parent = try await fixture.create(
                CreateSandboxRequest(isolation: "firecracker", network: NetworkPolicy(mode: .public)))
            #expect(parent.isolation.level == .hardwareVM && parent.isolation.accelerator == "kvm")
            _ = try await fixture.output(parent, "echo before > /dev/shm/state; echo before > /root/state; sync")
            let snapshot = try await fixture.client.createSnapshot(of: parent.id)
            // It runs on, and is reached anew.
            #expect(try await fixture.output(parent, "echo after > /dev/shm/state; cat /root/state") == "before")
            var seen: Set<String> = []
            for _ in 0..<2 {
                let child = try await fixture.client.createSandbox(CreateSandboxRequest(fromSnapshot: snapshot.id))
                #expect(try await fixture.output(child, "cat /dev/shm/state /root/state") == "before\nbefore")
                let facts = try await fixture.output(
                    child,
                    "cat /etc/machine-id; head -c 8 /dev/urandom | od -An -tx8; ip -4 -o address show eth0 | wc -l")
                #expect(facts.hasSuffix("\n1"))
                #expect(seen.insert(facts).inserted)
                let now = Double(Clocks.realtimeMilliseconds) / 1000
                let theirs = try #require(Double(try await fixture.output(child, "date +%s.%N")))
                #expect(abs(theirs - now) < 5)
                try await fixture.client.deleteSandbox(child.id)
            }
        }
    }
}
