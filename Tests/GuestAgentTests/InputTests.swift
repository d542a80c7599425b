import GuestAgent
import GuestProtocol
import Testing

@Suite struct InputTests {
    @Test func inputOfAnySizePassesThrough() async throws {
        try await AgentFixture.with { agent in
            let bytes = (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
            let (stream, _) = try await agent.client.start(
                StartProcess(arguments: ["cat"], takesInput: true), window: 1 << 26)
            try await agent.client.sendInput(stream, bytes)
            let outcome = try await agent.client.finish(stream)
            #expect(outcome.standardOutput == bytes)
        }
    }

    @Test func withoutInputAProgramReadsNothing() async throws {
        try await AgentFixture.with { agent in
            let outcome = try await agent.client.run("/bin/sh", "-c", "wc -c; readlink /proc/self/fd/0")
            #expect(outcome.text == "0\n/dev/null\n")
        }
    }

    @Test func aProgramThatClosedItsInputLosesTheRestInSilence() async throws {
        try await AgentFixture.with { agent in
            let (stream, pid) = try await agent.client.start(
                StartProcess(arguments: ["/bin/sh", "-c", "exec 0<&-; echo closed; sleep 1000"], takesInput: true))
            #expect(try await agent.client.next(stream).kind == .data)
            try await agent.client.sendInput(stream, [UInt8](repeating: 1, count: 2_000_000))
            _ = try await agent.client.request(.signalProcess, SignalProcess(pid: pid, signal: 9))
            #expect(try await agent.client.finish(stream).exit.signal == 9)
        }
    }

    @Test func laterStreamsWriteToTheSameInput() async throws {
        try await AgentFixture.with { agent in
            let (stream, pid) = try await agent.client.start(StartProcess(arguments: ["cat"], takesInput: true))
            for (text, closes) in [("one ", false), ("two", true)] {
                let input = try await agent.client.open(.writeInput, WriteInput(pid: pid, closes: closes))
                try await agent.client.sendInput(input, Array(text.utf8))
                #expect(try await agent.client.result(input).isEmpty)
            }
            let outcome = try await agent.client.finish(stream)
            #expect(outcome.text == "one two")
            let late = try await agent.client.failure(.writeInput, WriteInput(pid: pid, closes: true))
            #expect(late?.code == .processExited)
        }
    }

    @Test func whoSendsMoreThanItsCreditIsCutOff() async throws {
        try await AgentFixture.with { agent in
            let (stream, pid) = try await agent.client.start(
                StartProcess(arguments: ["sleep", "1000"], takesInput: true))
            let chunk = [UInt8](repeating: 0, count: Frame.maxPayload)
            // The pipe itself takes some, and that much is granted anew.
            for _ in 0..<8 { try await agent.client.send(Frame(stream: stream, kind: .data, payload: chunk)) }
            let frame = try await agent.client.next(stream)
            #expect(frame.kind == .fail)
            #expect(try GuestFailure(decoding: frame.payload).code == .invalidArgument)
            // Only the stream is over; the process lives.
            let info = try await agent.client.request(.inspectProcess, ProcessReference(pid: pid), as: ProcessInfo.self)
            #expect(info.exit == nil)
            let silent = try await agent.client.start(StartProcess(arguments: ["sleep", "1000"]))
            try await agent.client.send(Frame(stream: silent.stream, kind: .data, payload: [1]))
            #expect(try await agent.client.next(silent.stream).kind == .fail)
        }
    }

    @Test func manyWritersCannotMakeTheAgentHoldWithoutBound() async throws {
        try await AgentFixture.with { agent in
            let (_, pid) = try await agent.client.start(StartProcess(arguments: ["sleep", "1000"], takesInput: true))
            let second = try await agent.client.open(.writeInput, WriteInput(pid: pid, closes: false))
            try await agent.client.sendInput(second, [UInt8](repeating: 0, count: 200_000), ends: false)
            let third = try await agent.client.open(.writeInput, WriteInput(pid: pid, closes: false))
            // Two windows are given out; the third writer has no credit, so what it sends is too much.
            try await agent.client.send(Frame(stream: third, kind: .data, payload: [1]))
            #expect(try await agent.client.next(third).kind == .fail)
        }
    }
}
