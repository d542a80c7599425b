import CLinux
import Foundation
import Glibc
import GuestProtocol
import LinuxSystem
import Testing

/// The program itself, as engines without a machine of their own start it.
@Suite struct GuestProgramTests {
    @Test func twoHundredMebibytesReachASlowReaderWholeAndTheAgentStaysFlat() async throws {
        try await withProgram { client, agent in
            let total = 200 << 20
            // A small window makes the reader slow: the agent waits for every grant.
            let (stream, _) = try await client.start(
                StartProcess(arguments: ["head", "-c", "\(total)", "/dev/zero"], attach: .lossless), window: 65_536)
            var received = 0
            var gaps = 0
            var wrong = 0
            while true {
                let frame = try await client.next(stream)
                guard frame.kind == .data else { break }
                let data = try OutputData(decoding: frame.payload)
                if data.offset != UInt64(received) { gaps += 1 }
                if data.bytes.first != 0 || data.bytes.last != 0 { wrong += 1 }
                received += data.bytes.count
                try await client.send(.credit(stream: stream, bytes: UInt32(frame.payload.count)))
            }
            #expect(received == total)
            #expect(gaps == 0 && wrong == 0)
            #expect(peakBytes(of: agent) < 48 << 20)
        }
    }

    @Test func collectsOrphansAndEndsWithTheHost() async throws {
        try await withProgram { client, agent in
            // The shell ends at once; its child outlives it, becomes the agent's, and ends unasked.
            let outcome = try await client.run("/bin/sh", "-c", "(exec 1>&- 2>&-; sleep 0.2) & echo $!")
            let orphan = try #require(Int32(outcome.text.dropLast()))
            while isRunning(orphan) { try await Task.sleep(for: .milliseconds(10)) }
            let background = try await client.start(StartProcess(arguments: ["sleep", "1000"])).pid
            await client.close()
            #expect(await hasEnded(agent))
            // Killed with the agent; whoever inherits it collects it.
            while let state = status(of: background, "State"), !state.hasPrefix("Z") {
                try await Task.sleep(for: .milliseconds(10))
            }
        }
    }

    @Test func saysHowItIsUsed() throws {
        var ends: [Int32] = [-1, -1]
        try SystemError.check(clinux_pipe(&ends, 0), "pipe2")
        let read = Descriptor(owning: ends[0])
        let write = Descriptor(owning: ends[1])
        let child = try ChildProcess.spawn(
            SpawnRequest(
                program: try program(), arguments: ["martlet-guest", "--help"], environment: [],
                descriptors: [nil, nil, write.number]))
        write.close()
        #expect(String(decoding: try read.readAll(), as: UTF8.self).contains("usage: martlet-guest"))
        let pidfd = try #require(child.pidfd)
        #expect(clinux_poll_one(pidfd.number, Int16(POLLIN), 60_000) > 0)
        var exit = clinux_exit()
        #expect(clinux_reap(child.pid, &exit) == 1)
        #expect(exit.code == 2)
    }

    // MARK: -

    private func withProgram(_ body: (TestClient, Int32) async throws -> Void) async throws {
        var ends: [Int32] = [-1, -1]
        try SystemError.check(clinux_socketpair(&ends), "socketpair")
        let agentEnd = Descriptor(owning: ends[0])
        let client = TestClient(Descriptor(owning: ends[1]))
        let agent = try withExtendedLifetime(agentEnd) {
            try ChildProcess.spawn(
                SpawnRequest(
                    program: try program(), arguments: ["martlet-guest", "--descriptor", "3"], environment: [],
                    descriptors: [nil, 1, 2, agentEnd.number]))
        }
        agentEnd.close()
        defer {
            kill(agent.pid, SIGKILL)
            while isRunning(agent.pid) {
                var exit = clinux_exit()
                if clinux_reap(agent.pid, &exit) != 0 { break }
                usleep(1000)
            }
        }
        try await client.synchronize()
        try await body(client, agent.pid)
        await client.close()
    }

    /// Waits for the agent to become a zombie, which is what an ended child is until it is collected.
    private func hasEnded(_ pid: Int32) async -> Bool {
        for _ in 0..<3000 {
            guard let state = status(of: pid, "State"), !state.hasPrefix("Z") else { return true }
            try? await Task.sleep(for: .milliseconds(10))
        }
        return false
    }

    private func peakBytes(of pid: Int32) -> Int {
        let words = status(of: pid, "VmHWM")?.split(separator: " ") ?? []
        return (words.first.flatMap { Int($0) } ?? .max / 1024) * 1024
    }

    /// A line of /proc/PID/status, without its name.
    private func status(of pid: Int32, _ name: String) -> String? {
        guard let text = try? String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8) else { return nil }
        let line = text.split(separator: "\n").first { $0.hasPrefix(name + ":") }
        return line?.dropFirst(name.count + 1).drop(while: \.isWhitespace).description
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
