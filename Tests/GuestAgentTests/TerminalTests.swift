import GuestProtocol
import Testing

@Suite struct TerminalTests {
    @Test func echoesAndResizes() async throws {
        try await AgentFixture.with { agent in
            let script = "tty; stty size; trap 'stty size; exit 5' WINCH; echo $TERM; while :; do read x; done"
            let (stream, pid) = try await agent.client.start(
                StartProcess(
                    arguments: ["/bin/sh", "-c", script], takesInput: true,
                    terminal: TerminalSize(rows: 24, columns: 80)))
            var text = try await read(agent, stream, until: "xterm-256color")
            #expect(text.contains("/dev/pts/"))
            #expect(text.contains("24 80"))
            try await agent.client.sendInput(stream, Array("typed\n".utf8), ends: false)
            text = try await read(agent, stream, until: "typed\r\n")
            #expect(text.contains("typed"))
            _ = try await agent.client.request(
                .resizeTerminal, ResizeTerminal(pid: pid, size: TerminalSize(rows: 50, columns: 132)))
            // The shell runs its trap once `read` is interrupted.
            try await agent.client.sendInput(stream, Array("\n".utf8), ends: false)
            let outcome = try await agent.client.finish(stream)
            #expect(outcome.text.contains("50 132"))
            #expect(outcome.exit.code == 5)
            #expect(outcome.standardError.isEmpty)
        }
    }

    @Test func theEndOfInputEndsAReader() async throws {
        try await AgentFixture.with { agent in
            let (stream, pid) = try await agent.client.start(
                StartProcess(arguments: ["cat"], takesInput: true, terminal: TerminalSize(rows: 24, columns: 80)))
            try await agent.client.sendInput(stream, Array("line\n".utf8))
            let outcome = try await agent.client.finish(stream)
            #expect(outcome.exit.code == 0)
            #expect(outcome.text.contains("line\r\n"))
            let info = try await agent.client.request(.inspectProcess, ProcessReference(pid: pid), as: ProcessInfo.self)
            #expect(info.hasTerminal)
        }
    }

    @Test func aProcessWithoutTerminalCannotBeResized() async throws {
        try await AgentFixture.with { agent in
            let (_, pid) = try await agent.client.start(StartProcess(arguments: ["sleep", "1000"]))
            let resize = ResizeTerminal(pid: pid, size: TerminalSize(rows: 1, columns: 1))
            #expect(try await agent.client.failure(.resizeTerminal, resize)?.code == .invalidArgument)
        }
    }

    private func read(_ agent: AgentFixture, _ stream: UInt32, until end: String) async throws -> String {
        var text = ""
        while !text.contains(end) {
            let frame = try await agent.client.next(stream)
            try #require(frame.kind == .data)
            text += String(decoding: try OutputData(decoding: frame.payload).bytes, as: UTF8.self)
        }
        return text
    }
}
