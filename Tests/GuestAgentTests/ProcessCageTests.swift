import Foundation
import Glibc
import GuestAgent
import GuestProtocol
import Testing

@Suite(.enabled(if: Privilege.controlGroupRoot != nil, "needs a writable version 2 control group"))
struct ProcessCageTests {
    @Test func aTimeoutReachesEvenWhoLeftSessionAndParent() async throws {
        try await withGroup { group in
            try await AgentFixture.with {
                $0.controlGroup = group
            } _: { agent in
                // A daemon: its parent is gone and its session is new when the time is up.
                let script = "setsid -f sh -c 'echo $$; exec sleep 1000'; sleep 1000"
                let outcome = try await agent.client.run(
                    StartProcess(arguments: ["/bin/sh", "-c", script], timeoutMilliseconds: 500))
                #expect(outcome.exit.timedOut)
                let daemon = try #require(Int32(outcome.text.dropLast()))
                #expect(try await isEmptied(group))
                #expect(kill(daemon, 0) != 0 || !members(of: group).contains(daemon))
            }
        }
    }

    @Test func groupsAreUsedAgainOnceEmptyAndNotBefore() async throws {
        try await withGroup { group in
            try await AgentFixture.with {
                $0.controlGroup = group
            } _: { agent in
                for _ in 0..<20 { #expect(try await agent.client.run("true").exit.code == 0) }
                let made = groups(in: group).count
                #expect(made <= 4)
                // A background child keeps its group; forgetting its parent kills it, and no one else.
                let held = try await agent.client.run("/bin/sh", "-c", "sleep 1000 & echo $!")
                let child = try #require(Int32(held.text.dropLast()))
                let (_, other) = try await agent.client.start(StartProcess(arguments: ["sleep", "1000"]))
                for _ in 0..<10 { _ = try await agent.client.run("true") }
                #expect(members(of: group).contains(child))
                _ = try await agent.client.request(.forgetProcess, ProcessReference(pid: held.pid))
                while members(of: group).contains(child) { try await Task.sleep(for: .milliseconds(5)) }
                #expect(members(of: group) == [other])
                // The shell's own group may be someone else's by now: that one is left alone.
                let first = try await agent.client.request(.listProcesses, as: ProcessList.self).processes[0]
                _ = try await agent.client.request(.forgetProcess, ProcessReference(pid: first.pid))
                #expect(members(of: group) == [other])
            }
        }
    }

    private func withGroup(_ body: (String) async throws -> Void) async throws {
        let root = try #require(Privilege.controlGroupRoot)
        let group = root + "/martlet-test-\(UUID().uuidString)"
        try #require(mkdir(group, 0o755) == 0)
        defer {
            for name in groups(in: group) { rmdir(group + "/" + name) }
            rmdir(group)
        }
        try await body(group)
        #expect(try await isEmptied(group))
    }

    private func isEmptied(_ group: String) async throws -> Bool {
        for _ in 0..<1000 {
            if members(of: group).isEmpty { return true }
            try await Task.sleep(for: .milliseconds(5))
        }
        return false
    }

    private func groups(in group: String) -> [String] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: group)) ?? []
        return names.filter { $0.hasPrefix("p") && Int($0.dropFirst()) != nil }
    }

    private func members(of group: String) -> [Int32] {
        groups(in: group).flatMap { name in
            let text = (try? String(contentsOfFile: "\(group)/\(name)/cgroup.procs", encoding: .utf8)) ?? ""
            return text.split(separator: "\n").compactMap { Int32($0) }
        }
    }
}
