import CLinux
import Foundation
import Glibc
import GuestProtocol
import LinuxSystem
import Testing

/// The program itself, as engines without a machine of their own start it.
@Suite struct GuestProgramTests {
    @Test func servesADescriptorCollectsOrphansAndEndsWithTheHost() async throws {
        var ends: [Int32] = [-1, -1]
        try SystemError.check(clinux_socketpair(&ends), "socketpair")
        let agentEnd = Descriptor(owning: ends[0])
        var request = SpawnRequest(
            program: try program(), arguments: ["martlet-guest", "--descriptor", "3"], environment: [],
            descriptors: [nil, 1, 2, agentEnd.number])
        request.directory = "/"
        let agent = try withExtendedLifetime(agentEnd) { try ChildProcess.spawn(request) }
        agentEnd.close()
        defer {
            kill(agent.pid, SIGKILL)
            var exit = clinux_exit()
            _ = clinux_reap(agent.pid, &exit)
        }
        let client = TestClient(Descriptor(owning: ends[1]))
        try await client.synchronize()
        // The shell ends at once; its child outlives it, becomes the agent's, and ends unasked.
        let outcome = try await client.run("/bin/sh", "-c", "(exec 1>&- 2>&-; sleep 0.2) & echo $!")
        let orphan = try #require(Int32(outcome.text.dropLast()))
        while isRunning(orphan) { try await Task.sleep(for: .milliseconds(10)) }
        let background = try await client.start(StartProcess(arguments: ["sleep", "1000"])).pid
        await client.close()
        let handle = try #require(agent.pidfd)
        #expect(clinux_poll_one(handle.number, Int16(POLLIN), 60_000) > 0)
        // Killed with the agent; whoever inherits it collects it.
        while let text = try? String(contentsOfFile: "/proc/\(background)/stat", encoding: .utf8),
            !text.contains(") Z ")
        {
            try await Task.sleep(for: .milliseconds(10))
        }
    }

    /// The program built beside these tests.
    private func program() throws -> String {
        let own = URL(fileURLWithPath: try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe"))
        var directory = own.deletingLastPathComponent()
        while directory.path != "/" {
            let candidate = directory.appendingPathComponent("martlet-guest").path
            if FileManager.default.isExecutableFile(atPath: candidate) { return candidate }
            directory = directory.deletingLastPathComponent()
        }
        return try #require(nil as String?, "martlet-guest is not built")
    }
}
