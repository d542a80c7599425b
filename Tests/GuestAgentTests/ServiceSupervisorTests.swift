import Foundation
import Glibc
import GuestAgent
import GuestProtocol
import Testing

@Suite struct ServiceSupervisorTests {
    @Test func aServiceThatEndsIsStartedAgainLaterEachTime() async throws {
        try await AgentFixture.with(configure: { $0.restartDelays = (20, 80) }) { agent in
            let (log, started) = (
                agent.path("log"), StartProcess(arguments: ["sh", "-c", "date +%s%N >> $0", agent.path("log")])
            )
            let first = try await agent.client.request(.superviseProcess, started, as: ProcessStarted.self)
            #expect(first.pid > 0)
            // Each of them ends at once: 20, 40, 80 and again 80 ms lie between, and what their start takes.
            let times = try await lines(log, 5).compactMap { Double($0) }
            let waits = zip(times.dropFirst(), times).map { ($0 - $1) / 1e6 }
            for (wait, least) in zip(waits, [20.0, 40, 80, 80]) { #expect(wait >= least) }
        }
    }

    @Test func aServiceThatIsKilledIsAnotherProcessSoon() async throws {
        try await AgentFixture.with(configure: { $0.restartDelays = (5, 5) }) { agent in
            let log = agent.path("log")
            let request = StartProcess(
                arguments: ["sh", "-c", "echo $$ >> $0; exec sleep 1000", log], environment: ["A=b"])
            let first = try await agent.client.request(.superviseProcess, request, as: ProcessStarted.self)
            #expect(try await lines(log, 1) == ["\(first.pid)"])
            _ = try await agent.client.request(.signalProcess, SignalProcess(pid: first.pid, signal: SIGKILL))
            let second = try #require(try await lines(log, 2).last.flatMap { Int32($0) })
            #expect(second != first.pid)
            // It is a process like any other: it can be asked about, and forgetting it starts the next.
            let info = try await agent.client.request(
                .inspectProcess, ProcessReference(pid: second), as: ProcessInfo.self)
            #expect(info.exit == nil)
            _ = try await agent.client.request(.forgetProcess, ProcessReference(pid: second))
            #expect(try await lines(log, 3).count == 3)
        }
    }

    @Test func whatCannotBeAServiceIsRefusedAndNotTriedAgain() async throws {
        try await AgentFixture.with { agent in
            let client = agent.client
            for (request, code) in [
                (StartProcess(arguments: ["martlet-no-such-command"]), GuestFailure.Code.commandNotFound),
                (StartProcess(arguments: []), .invalidArgument),
                (StartProcess(arguments: ["cat"], takesInput: true), .invalidArgument),
                (StartProcess(arguments: ["cat"], terminal: TerminalSize(rows: 1, columns: 1)), .invalidArgument),
                (StartProcess(arguments: ["cat"], timeoutMilliseconds: 1), .invalidArgument),
            ] {
                let failure = try await client.failure(.superviseProcess, request)
                #expect(failure?.code == code)
            }
            let list = try await client.request(.listProcesses, as: ProcessList.self)
            #expect(list.processes.isEmpty)
        }
    }

    @Test func thereIsALimit() async throws {
        try await AgentFixture.with { agent in
            let sleeper = StartProcess(arguments: ["sleep", "1000"])
            for _ in 0..<64 { _ = try await agent.client.request(.superviseProcess, sleeper) }
            let failure = try await agent.client.failure(.superviseProcess, sleeper)
            #expect(failure?.code == .limitReached)
        }
    }

    @Test func servicesAreToldTheEnvironmentAtAThawAndWithoutAnyItIsNotWritten() async throws {
        try await AgentFixture.with { agent in
            let thaw = Thaw(
                wallClockNanoseconds: 1, entropy: [1], hostname: "h", machineID: String(repeating: "a", count: 32),
                environment: ["A=1", "B=2"])
            _ = try await agent.client.request(.thaw, thaw)
            #expect(!agent.machine.calls.contains { $0.hasPrefix("environment") })
            _ = try await agent.client.request(.superviseProcess, StartProcess(arguments: ["sleep", "1000"]))
            #expect(try await agent.client.request(.thaw, thaw, as: Thawed.self).isComplete)
            // Before the new generation, which is when they look.
            let calls = agent.machine.calls
            let told = try #require(calls.firstIndex(of: "environment A=1 B=2"))
            #expect(told < (calls.lastIndex(of: "generation") ?? 0))
            agent.machine.fail("environment")
            #expect(try await !agent.client.request(.thaw, thaw, as: Thawed.self).isComplete)
        }
    }

    /// The lines of a file once it has so many.
    private func lines(_ path: String, _ count: Int) async throws -> [String] {
        while true {
            let text = (try? String(contentsOfFile: path, encoding: .utf8)) ?? ""
            let lines = text.split(separator: "\n").map(String.init)
            if lines.count >= count, text.hasSuffix("\n") { return lines }
            try await Task.sleep(for: .milliseconds(5))
        }
    }
}
