import Foundation
import Glibc
import GuestAgent
import GuestProtocol
import Testing

@Suite struct ProcessTests {
    @Test func outputComesSplitByChannelWithTheExitCode() async throws {
        try await AgentFixture.with { agent in
            let outcome = try await agent.client.run("/bin/sh", "-c", "echo out; echo err >&2; echo more; exit 7")
            #expect(outcome.text == "out\nmore\n")
            #expect(outcome.errorText == "err\n")
            #expect(outcome.exit.code == 7)
            #expect(outcome.exit.signal == 0)
            #expect(!outcome.exit.timedOut)
            #expect(outcome.exit.outputBytes == 13)
            #expect(outcome.exit.wallMicroseconds > 0)
            #expect(outcome.exit.maxResidentBytes > 0)
        }
    }

    @Test func aSignalIsToldAsShellsDo() async throws {
        try await AgentFixture.with { agent in
            let outcome = try await agent.client.run("/bin/sh", "-c", "kill -TERM $$")
            #expect(outcome.exit.signal == SIGTERM)
            #expect(outcome.exit.code == 128 + SIGTERM)
        }
    }

    @Test func environmentHasDefaultsThenTheSandboxsThenItsOwn() async throws {
        try await AgentFixture.with { agent in
            let thaw = Thaw(
                wallClockNanoseconds: 1, entropy: [1], hostname: "a", machineID: String(repeating: "a", count: 32),
                environment: ["FROM_THAW=1", "BOTH=thaw"])
            _ = try await agent.client.request(.thaw, thaw)
            let outcome = try await agent.client.run(
                StartProcess(arguments: ["env"], environment: ["BOTH=request", "LANG=de", "EMPTY="]))
            let lines = Set(outcome.text.split(separator: "\n"))
            #expect(lines.isSuperset(of: ["FROM_THAW=1", "BOTH=request", "LANG=de", "EMPTY=", "USER=root"]))
            #expect(lines.contains("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"))
            #expect(!lines.contains { $0.hasPrefix("TERM=") })
        }
    }

    @Test func theSandboxsUserIsTheOneWhereNoneIsNamed() async throws {
        try await AgentFixture.with { agent in
            let thaw = Thaw(
                wallClockNanoseconds: 1, entropy: [1], hostname: "a", machineID: String(repeating: "a", count: 32),
                user: "nobody")
            _ = try await agent.client.request(.thaw, thaw)
            #expect(try await agent.client.run("id", "-u").text == "65534\n")
            let root = StartProcess(arguments: ["id", "-u"], user: "root")
            #expect(try await agent.client.run(root).text == "0\n")
        }
    }

    @Test func runsWhereAndAsWhomItIsTold() async throws {
        try await AgentFixture.with { agent in
            let here = try await agent.client.run(
                StartProcess(arguments: ["pwd", "-P"], workingDirectory: "/usr/lib"))
            #expect(here.text == "/usr/lib\n")
            let nobody = try await agent.client.run(
                StartProcess(arguments: ["/bin/sh", "-c", "id -u; id -g; echo $HOME $USER"], user: "nobody"))
            #expect(nobody.text == "65534\n65534\n/nonexistent nobody\n")
            let mixed = try await agent.client.run(
                StartProcess(arguments: ["/bin/sh", "-c", "id -u; id -g"], user: "12345:daemon"))
            #expect(mixed.text == "12345\n1\n")
        }
    }

    @Test(arguments: [
        (StartProcess(arguments: ["no-such-command"]), GuestFailure.Code.commandNotFound),
        (StartProcess(arguments: ["/no/such/file"]), .commandNotFound),
        (StartProcess(arguments: ["/etc/passwd"]), .notExecutable),
        (StartProcess(arguments: ["/etc"]), .notExecutable),
        (StartProcess(arguments: []), .invalidArgument),
        (StartProcess(arguments: ["a\0b"]), .invalidArgument),
        (StartProcess(arguments: ["true"], workingDirectory: "/no/such/place"), .invalidArgument),
        (StartProcess(arguments: ["true"], workingDirectory: "relative"), .invalidArgument),
        (StartProcess(arguments: ["true"], user: "no-such-user"), .invalidArgument),
        (StartProcess(arguments: ["true"], user: "root:no-such-group"), .invalidArgument),
        (StartProcess(arguments: ["true"], environment: ["no equals sign"]), .invalidArgument),
    ])
    func whatCannotBeStartedIsSaidPlainly(_ request: StartProcess, _ code: GuestFailure.Code) async throws {
        try await AgentFixture.with { agent in
            let failure = try #require(try await agent.client.failure(.startProcess, request))
            #expect(failure.code == code)
            if code == .commandNotFound { #expect(failure.message == "\(request.arguments[0]): command not found") }
            #expect(try await agent.client.run("true").exit.code == 0)
        }
    }

    @Test func aScriptWithoutInterpreterLineRunsInTheShell() async throws {
        try await AgentFixture.with { agent in
            _ = try await agent.client.writeFile(
                WriteFile(path: agent.path("script"), mode: 0o755), Array("echo \"$1 $0\"\n".utf8))
            let outcome = try await agent.client.run(agent.path("script"), "argument")
            #expect(outcome.text == "argument \(agent.path("script"))\n")
            _ = try await agent.client.writeFile(
                WriteFile(path: agent.path("broken"), mode: 0o755), Array("#!/no/such/interpreter\n".utf8))
            let request = StartProcess(arguments: [agent.path("broken")])
            #expect(try await agent.client.failure(.startProcess, request)?.code == .notExecutable)
        }
    }

    @Test func aTimeoutKillsTheWholeGroupAndThoseWhoLeftIt() async throws {
        try await AgentFixture.with { agent in
            let script = "sleep 1000 & echo $!; setsid sleep 1000 & echo $!; wait"
            let outcome = try await agent.client.run(
                StartProcess(arguments: ["/bin/sh", "-c", script], timeoutMilliseconds: 400))
            #expect(outcome.exit.timedOut)
            #expect(outcome.exit.signal == SIGKILL)
            let children = outcome.text.split(separator: "\n").compactMap { Int32($0) }
            #expect(children.count == 2)
            for child in children { #expect(await isGone(child)) }
        }
    }

    @Test func aBackgroundChildThatHoldsTheOutputDoesNotHoldTheEnd() async throws {
        try await AgentFixture.with { agent in
            let outcome = try await agent.client.run("/bin/sh", "-c", "sleep 1000 & echo $!; exit 3")
            #expect(outcome.exit.code == 3)
            let other = try #require(Int32(outcome.text.dropLast()))
            #expect(kill(other, 0) == 0)
            kill(other, SIGKILL)
            let held = try await agent.client.run("/bin/sh", "-c", "sleep 1000 & echo $!")
            #expect(held.exit.code == 0)
            let child = try #require(Int32(held.text.dropLast()))
            #expect(kill(child, 0) == 0)
            kill(child, SIGKILL)
        }
    }

    @Test func listsInspectsSignalsAndForgets() async throws {
        try await AgentFixture.with { agent in
            let client = agent.client
            let (stream, pid) = try await client.start(StartProcess(arguments: ["sleep", "1000"]))
            let list = try await client.request(.listProcesses, as: ProcessList.self)
            #expect(list.processes.map(\.pid) == [pid])
            #expect(list.processes[0].arguments == ["sleep", "1000"])
            #expect(list.processes[0].exit == nil)
            _ = try await client.request(.signalProcess, SignalProcess(pid: pid, signal: SIGINT))
            #expect(try await client.finish(stream).exit.signal == SIGINT)
            let info = try await client.request(.inspectProcess, ProcessReference(pid: pid), as: ProcessInfo.self)
            #expect(info.exit?.signal == SIGINT)
            let late = try await client.failure(.signalProcess, SignalProcess(pid: pid, signal: SIGINT))
            #expect(late?.code == .processExited)
            _ = try await client.request(.forgetProcess, ProcessReference(pid: pid))
            #expect(try await client.failure(.inspectProcess, ProcessReference(pid: pid))?.code == .notFound)
            #expect(try await client.request(.listProcesses, as: ProcessList.self).processes.isEmpty)
        }
    }

    @Test func forgettingARunningProcessKillsIt() async throws {
        try await AgentFixture.with { agent in
            let (stream, pid) = try await agent.client.start(
                StartProcess(arguments: ["/bin/sh", "-c", "yes"]), window: 1000)
            _ = try await agent.client.request(.forgetProcess, ProcessReference(pid: pid))
            #expect(await isGone(pid))
            try await agent.client.send(.credit(stream: stream, bytes: 1 << 24))
            #expect(try await agent.client.finish(stream).exit.signal == SIGKILL)
            #expect(try await agent.client.request(.listProcesses, as: ProcessList.self).processes.isEmpty)
        }
    }

    /// The end is told now by the process's collection, now by the last output of what it started.
    @Test func forgettingIsSafeWhicheverEndComesLast() async throws {
        try await AgentFixture.with { agent in
            for _ in 0..<20 {
                let (stream, pid) = try await agent.client.start(
                    StartProcess(arguments: ["/bin/sh", "-c", "sleep 1000 & setsid sleep 1000 & echo up; wait"]))
                #expect(try await agent.client.next(stream).kind == .data)
                try await agent.client.cancel(stream)
                _ = try await agent.client.request(.forgetProcess, ProcessReference(pid: pid))
            }
            #expect(try await agent.client.request(.listProcesses, as: ProcessList.self).processes.isEmpty)
        }
    }

    @Test func remembersOnlyTheLastEndedProcesses() async throws {
        try await AgentFixture.with {
            $0.rememberedProcesses = 3
        } _: { agent in
            var pids: [Int32] = []
            for _ in 0..<6 { pids.append(try await agent.client.run("true").pid) }
            let list = try await agent.client.request(.listProcesses, as: ProcessList.self)
            #expect(list.processes.map(\.pid) == Array(pids.suffix(3)))
        }
    }

    @Test func aListOfLongCommandLinesFitsOneFrame() async throws {
        try await AgentFixture.with { agent in
            let long = String(repeating: "x", count: 30_000)
            for _ in 0..<20 { _ = try await agent.client.run("true", long) }
            let list = try await agent.client.request(.listProcesses, as: ProcessList.self)
            #expect(list.processes.count == 20)
            #expect(list.processes.allSatisfy { $0.arguments[0] == "true" && $0.arguments[1].hasPrefix("xxxx") })
        }
    }

    /// Waits for a process that was killed to be collected by whoever is its parent now.
    private func isGone(_ pid: Int32) async -> Bool {
        for _ in 0..<500 {
            guard kill(pid, 0) == 0, !isZombie(pid) else { return true }
            try? await Task.sleep(for: .milliseconds(10))
        }
        return false
    }

    private func isZombie(_ pid: Int32) -> Bool {
        guard let text = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8) else { return true }
        return text.contains(") Z ")
    }
}
