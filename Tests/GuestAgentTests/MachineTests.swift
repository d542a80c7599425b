import Glibc
import GuestProtocol
import Testing

@testable import GuestAgent

@Suite struct MachineTests {
    private let identity = String(repeating: "0123456789abcdef", count: 2)

    @Test func aPingSaysWhoIsThere() async throws {
        try await AgentFixture.with { agent in
            let hello = try await agent.client.request(.ping, as: GuestHello.self)
            #expect(hello.generation == ProtocolGeneration.current)
            #expect(hello.agentVersion == AgentVersion.string)
            #expect(hello.kernel.first?.isNumber == true)
            #expect(hello.uptimeMilliseconds > 0)
        }
    }

    @Test func aThawDoesEverythingInOrderAndConfirmsIt() async throws {
        try await AgentFixture.with { agent in
            let thaw = Thaw(
                wallClockNanoseconds: 123, entropy: [UInt8](repeating: 1, count: 64), hostname: "sandbox-1",
                machineID: identity, diskBytes: 1 << 30, dropsConnections: true, renewsHostKeys: true)
            let thawed = try await agent.client.request(.thaw, thaw, as: Thawed.self)
            #expect(thawed.isComplete)
            #expect(
                agent.machine.calls == [
                    "clock 123", "reseed 64", "identity sandbox-1 \(identity)", "connections", "keys", "generation",
                    "grow 1073741824",
                ])
        }
    }

    @Test func aCertificateIsTrustedOnlyWhenThereIsOne() async throws {
        try await AgentFixture.with { agent in
            var thaw = Thaw(wallClockNanoseconds: 1, entropy: [1], hostname: "first", machineID: identity)
            #expect(try await agent.client.request(.thaw, thaw, as: Thawed.self).isComplete)
            #expect(!agent.machine.calls.contains { $0.hasPrefix("trust") })
            thaw.trustedCertificate = "PEM"
            #expect(try await agent.client.request(.thaw, thaw, as: Thawed.self).isComplete)
            #expect(agent.machine.calls.contains("trust 3"))
            agent.machine.fail("trust")
            let thawed = try await agent.client.request(.thaw, thaw, as: Thawed.self)
            #expect(!thawed.certificateTrusted && !thawed.isComplete)
        }
    }

    @Test func aResumeKeepsWhatItIsToldTo() async throws {
        try await AgentFixture.with { agent in
            func thaw(_ change: (inout Thaw) -> Void) async throws {
                var thaw = Thaw(wallClockNanoseconds: 1, entropy: [1], hostname: "first", machineID: identity)
                change(&thaw)
                let thawed = try await agent.client.request(.thaw, thaw, as: Thawed.self)
                #expect(thawed.isComplete)
            }
            func environment() async throws -> String {
                try await agent.client.run("/bin/sh", "-c", "echo $A,$B,$C").text
            }
            let user = geteuid() == 0 ? "12345" : ""
            try await thaw {
                $0.environment = ["A=1", "B=2"]
                $0.user = user
            }
            #expect(try await environment() == "1,2,\n")
            try await thaw {
                $0.hostname = ""
                $0.machineID = "none"
                $0.keepsIdentity = true
                $0.keepsEnvironment = true
                $0.environment = ["B=3", "C=4"]
            }
            #expect(agent.machine.calls.filter { $0.hasPrefix("identity") } == ["identity first \(identity)"])
            #expect(!agent.machine.calls.contains("connections") && !agent.machine.calls.contains("keys"))
            #expect(try await environment() == "1,3,4\n")
            if !user.isEmpty { #expect(try await agent.client.run("id", "-u").text == user + "\n") }
            try await thaw { $0.environment = ["C=5"] }
            #expect(try await environment() == ",,5\n")
            #expect(try await agent.client.run("id", "-u").text == "\(geteuid())\n")
        }
    }

    @Test(arguments: ["clock", "reseed", "identity", "connections", "keys", "generation", "grow"])
    func aStepThatFailsIsToldAndTheOthersAreDone(_ step: String) async throws {
        try await AgentFixture.with { agent in
            agent.machine.fail(step)
            let thaw = Thaw(
                wallClockNanoseconds: 1, entropy: [1], hostname: "a", machineID: identity, diskBytes: 1,
                dropsConnections: true, renewsHostKeys: true)
            let thawed = try await agent.client.request(.thaw, thaw, as: Thawed.self)
            #expect(thawed.clockSet == (step != "clock"))
            #expect(thawed.generatorReseeded == (step != "reseed" && step != "generation"))
            #expect(thawed.connectionsDropped == (step != "connections"))
            #expect(thawed.hostKeysRenewed == (step != "keys"))
            #expect(agent.machine.calls.count == 7)
            #expect(thawed.identitySet == (step != "identity"))
            #expect(thawed.diskGrown == (step != "grow"))
        }
    }

    @Test(arguments: [("bad\nname", true), ("", true), ("fine", false)])
    func namesThatCouldBreakAFileAreRefused(_ hostname: String, _ goodID: Bool) async throws {
        try await AgentFixture.with { agent in
            let thaw = Thaw(
                wallClockNanoseconds: 1, entropy: [1], hostname: hostname, machineID: goodID ? identity : "../x")
            let thawed = try await agent.client.request(.thaw, thaw, as: Thawed.self)
            #expect(!thawed.identitySet)
            #expect(!agent.machine.calls.contains { $0.hasPrefix("identity") })
        }
    }

    @Test func freezeAndPowerOffSynchronizeFirst() async throws {
        try await AgentFixture.with { agent in
            _ = try await agent.client.request(.freeze)
            #expect(agent.machine.calls == ["sync"])
            _ = try await agent.client.request(.powerOff)
            #expect(Array(agent.machine.calls.prefix(2)) == ["sync", "sync"])
        }
    }

    @Test func metricsAreThoseOfTheKernel() async throws {
        try await AgentFixture.with { agent in
            let metrics = try await agent.client.request(.metrics, as: GuestMetrics.self)
            #expect(metrics.uptimeMilliseconds > 1000)
            #expect(metrics.memoryTotal > metrics.memoryAvailable)
            #expect(metrics.memoryAvailable > 0)
            #expect(metrics.cpuIdleMilliseconds > 0)
            #expect(metrics.diskTotal > metrics.diskUsed)
            #expect(metrics.processes > 1)
        }
    }

    @Test func theHostsFileNamesTheMachineOnce() {
        func naming(_ text: String) -> String {
            String(decoding: HostsFile.naming("new", in: Array(text.utf8)), as: UTF8.self)
        }
        #expect(naming("") == "127.0.1.1\tnew\n")
        #expect(naming("127.0.0.1\tlocalhost\n") == "127.0.0.1\tlocalhost\n127.0.1.1\tnew\n")
        #expect(naming("127.0.1.1 old\n::1 x") == "127.0.1.1\tnew\n::1 x\n")
        #expect(naming("127.0.1.1 old\nx\n127.0.1.1\tolder\n\n") == "127.0.1.1\tnew\nx\n\n")
        #expect(naming("127.0.1.1") == "127.0.1.1\n127.0.1.1\tnew\n")
        #expect(naming("127.0.1.10 other\n") == "127.0.1.10 other\n127.0.1.1\tnew\n")
    }
}
