import Foundation
import Glibc
import GuestAgent
import GuestProtocol
import Testing

@Suite(.enabled(if: Privilege.controlGroupRoot != nil, "needs a writable version 2 control group"))
struct ProcessCageTests {
    @Test func aTimeoutReachesEvenWhoLeftSessionAndParent() async throws {
        try await ControlGroup.with { group in
            try await AgentFixture.with {
                $0.controlGroup = group.path
            } _: { agent in
                // A daemon: its parent is gone and its session is new when the time is up.
                let script = "setsid -f sh -c 'echo $$; exec sleep 1000'; sleep 1000"
                let outcome = try await agent.client.run(
                    StartProcess(arguments: ["/bin/sh", "-c", script], timeoutMilliseconds: 500))
                #expect(outcome.exit.timedOut)
                let daemon = try #require(Int32(outcome.text.dropLast()))
                #expect(try await group.isEmptied())
                #expect(kill(daemon, 0) != 0 || !group.members.contains(daemon))
            }
        }
    }

    @Test func groupsAreUsedAgainOnceEmptyAndNotBefore() async throws {
        try await ControlGroup.with { group in
            try await AgentFixture.with {
                $0.controlGroup = group.path
            } _: { agent in
                for _ in 0..<20 { #expect(try await agent.client.run("true").exit.code == 0) }
                let made = group.groups.count
                #expect(made <= 4)
                // A background child keeps its group; forgetting its parent kills it, and no one else.
                let held = try await agent.client.run("/bin/sh", "-c", "sleep 1000 & echo $!")
                let child = try #require(Int32(held.text.dropLast()))
                let (_, other) = try await agent.client.start(StartProcess(arguments: ["sleep", "1000"]))
                for _ in 0..<10 { _ = try await agent.client.run("true") }
                #expect(group.members.contains(child))
                _ = try await agent.client.request(.forgetProcess, ProcessReference(pid: held.pid))
                while group.members.contains(child) { try await Task.sleep(for: .milliseconds(5)) }
                #expect(group.members == [other])
                // The shell's own group may be someone else's by now: that one is left alone.
                let first = try await agent.client.request(.listProcesses, as: ProcessList.self).processes[0]
                _ = try await agent.client.request(.forgetProcess, ProcessReference(pid: first.pid))
                #expect(group.members == [other])
            }
        }
    }
}
