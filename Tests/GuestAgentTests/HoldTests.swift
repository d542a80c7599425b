import Foundation
import Glibc
import GuestAgent
import GuestProtocol
import Testing

@Suite struct HoldWithoutGroupTests {
    @Test func whereNothingCanBeHeldThatIsSaid() async throws {
        try await AgentFixture.with { agent in
            let held = try await hold(agent, flush: true)
            #expect(held == Held(frozen: false, flushed: true))
            #expect(agent.machine.calls == ["sync"])
            #expect(try await hold(agent) == Held(frozen: false, flushed: false))
            #expect(try await agent.client.request(.release).isEmpty)
            agent.machine.fail("sync")
            #expect(try await !hold(agent, flush: true).flushed)
            #expect(try await agent.client.run("echo", "on").text == "on\n")
        }
    }
}

@Suite(.enabled(if: Privilege.controlGroupRoot != nil, "needs a writable version 2 control group"))
struct HoldTests {
    private static let ticker = "while :; do echo x; done"

    @Test func programsStandStillUntilTheyAreReleased() async throws {
        try await withAgent { agent, group in
            let client = agent.client
            let pid = try await ticker(client)
            for _ in 0..<3 {
                #expect(try await hold(agent) == Held(frozen: true, flushed: false))
                #expect(group.isFrozen)
                // Twice is fine; the flush comes after the programs stand still.
                #expect(try await hold(agent, flush: true) == Held(frozen: true, flushed: true))
                // What was in the pipe is read; after that nothing comes.
                let before = try await settledOutput(client, pid)
                #expect(try await settledOutput(client, pid) == before)
                for _ in 0..<2 { _ = try await client.request(.release) }
                #expect(!group.isFrozen)
                while try await output(client, pid) == before {}
            }
        }
    }

    @Test func anIdleGroupIsHeldToo() async throws {
        try await withAgent { agent, group in
            #expect(try await hold(agent).frozen)
            _ = try await agent.client.request(.release)
            let (_, _) = try await agent.client.start(StartProcess(arguments: ["sleep", "1000"]))
            #expect(try await hold(agent).frozen)
            #expect(group.isFrozen)
        }
    }

    @Test func whatIsStartedMeanwhileIsLoadedAndDoesNotRun() async throws {
        try await withAgent { agent, group in
            let client = agent.client
            let mark = agent.path("mark")
            #expect(try await hold(agent).frozen)
            let (stream, pid) = try await client.start(
                StartProcess(arguments: ["/bin/sh", "-c", "echo ran > \(mark); echo done"]))
            // Its program is in place, not the agent's copy, and it is where it belongs.
            let command = try String(contentsOfFile: "/proc/\(pid)/comm", encoding: .utf8)
            #expect(command == "sh\n")
            #expect(group.members == [pid])
            #expect(try await hold(agent).frozen)
            #expect(access(mark, F_OK) != 0)
            // What cannot be started is told as ever.
            #expect(try await startFailure(client, ["martlet-no-such-command"]) == .commandNotFound)
            #expect(try await startFailure(client, ["/proc/version"]) == .notExecutable)
            _ = try await client.request(.release)
            let outcome = try await client.finish(stream)
            #expect(outcome.exit.code == 0)
            #expect(outcome.text == "done\n")
            #expect(access(mark, F_OK) == 0)
            #expect(try await client.run("echo", "after").text == "after\n")
        }
    }

    @Test func aScriptWithoutAnInterpreterAndAnotherUserAreStartedHeldToo() async throws {
        try await withAgent { agent, _ in
            let script = agent.path("script")
            // Written by another process: one that another test starts at this moment would share our descriptor, and a
            // file that is open for writing cannot be run.
            let line = "echo 'echo script' > \"$1\"; chmod 755 \"$1\""
            let (writer, _) = try await agent.client.start(StartProcess(arguments: ["sh", "-c", line, "sh", script]))
            #expect(try await agent.client.finish(writer).exit.code == 0)
            #expect(try await hold(agent).frozen)
            let (first, _) = try await agent.client.start(StartProcess(arguments: [script]))
            let user = geteuid() == 0 ? "12345" : "\(geteuid())"
            let (second, _) = try await agent.client.start(StartProcess(arguments: ["id", "-u"], user: user))
            #expect(try await hold(agent).frozen)
            _ = try await agent.client.request(.release)
            #expect(try await agent.client.finish(first).text == "script\n")
            #expect(try await agent.client.finish(second).text == user + "\n")
        }
    }

    @Test func aHeldProgramCanBeKilled() async throws {
        try await withAgent { agent, _ in
            let client = agent.client
            let (stream, pid) = try await client.start(StartProcess(arguments: ["sleep", "1000"]))
            #expect(try await hold(agent).frozen)
            _ = try await client.request(.signalProcess, SignalProcess(pid: pid, signal: SIGKILL))
            #expect(try await client.finish(stream).exit.signal == SIGKILL)
            let (born, bornPid) = try await client.start(StartProcess(arguments: ["sleep", "1000"]))
            _ = try await client.request(.forgetProcess, ProcessReference(pid: bornPid))
            #expect(try await client.finish(born).exit.signal == SIGKILL)
        }
    }

    @Test func aThawReleasesOnlyWithAllItsPromisesKept() async throws {
        try await withAgent { agent, group in
            let client = agent.client
            let pid = try await ticker(client)
            #expect(try await hold(agent).frozen)
            // The host that took it is gone; the one that restored it starts afresh.
            try await client.synchronize(flush: true)
            let thaw = Thaw(
                wallClockNanoseconds: 1, entropy: [1], hostname: "a",
                machineID: String(repeating: "0123456789abcdef", count: 2), diskBytes: 1, dropsConnections: true,
                renewsHostKeys: true)
            for step in ["clock", "reseed", "identity", "connections", "keys", "generation", "grow"] {
                agent.machine.fail(step)
                #expect(try await !client.request(.thaw, thaw, as: Thawed.self).isComplete)
                #expect(group.isFrozen)
            }
            agent.machine.fail(nil)
            let before = try await settledOutput(client, pid)
            #expect(try await client.request(.thaw, thaw, as: Thawed.self).isComplete)
            #expect(!group.isFrozen)
            while try await output(client, pid) == before {}
        }
    }

    // MARK: -

    private func withAgent(_ body: (AgentFixture, ControlGroup) async throws -> Void) async throws {
        try await ControlGroup.with { group in
            try await AgentFixture.with {
                $0.controlGroup = group.path
            } _: { agent in
                try await body(agent, group)
            }
        }
    }

    /// A program that writes without end and whose output nobody waits for.
    private func ticker(_ client: TestClient) async throws -> Int32 {
        let request = StartProcess(arguments: ["/bin/sh", "-c", Self.ticker], attach: .exitOnly)
        let pid = try await client.start(request).pid
        while try await output(client, pid) == 0 {}
        return pid
    }

    private func output(_ client: TestClient, _ pid: Int32) async throws -> UInt64 {
        try await client.request(.inspectProcess, ProcessReference(pid: pid), as: ProcessInfo.self).outputBytes
    }

    /// The output once the pipe is empty: the agent reads what there is before it takes the next request.
    private func settledOutput(_ client: TestClient, _ pid: Int32) async throws -> UInt64 {
        var last = try await output(client, pid)
        var equal = 0
        while equal < 20 {
            let now = try await output(client, pid)
            equal = now == last ? equal + 1 : 0
            last = now
        }
        return last
    }

    private func startFailure(_ client: TestClient, _ arguments: [String]) async throws -> GuestFailure.Code? {
        do {
            _ = try await client.start(StartProcess(arguments: arguments))
            return nil
        } catch let error as GuestFailure {
            return error.code
        }
    }
}

private func hold(_ agent: AgentFixture, flush: Bool = false) async throws -> Held {
    try await agent.client.request(.hold, Hold(timeoutMilliseconds: 30_000, flush: flush), as: Held.self)
}
