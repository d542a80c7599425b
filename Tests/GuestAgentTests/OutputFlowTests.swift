import Foundation
import Glibc
import GuestAgent
import GuestProtocol
import LinuxSystem
import Testing

@Suite struct OutputFlowTests {
    @Test func aLosslessReaderThatDoesNotReadHoldsTheProcess() async throws {
        try await AgentFixture.with { agent in
            let (stream, pid) = try await agent.client.start(
                StartProcess(arguments: ["head", "-c", "1000000", "/dev/zero"], replayBytes: 65_536), window: 0)
            // Other streams go on; the writer cannot, so its output stands still below the buffer's size.
            #expect(try await agent.client.run("echo", "meanwhile").text == "meanwhile\n")
            let info = try await agent.client.request(.inspectProcess, ProcessReference(pid: pid), as: ProcessInfo.self)
            #expect(info.outputBytes <= 65_536)
            #expect(info.exit == nil)
            try await agent.client.send(.credit(stream: stream, bytes: 1 << 21))
            let outcome = try await agent.client.finish(stream)
            #expect(outcome.standardOutput.count == 1_000_000)
        }
    }

    @Test func cancellingALosslessStreamReleasesTheProcess() async throws {
        try await AgentFixture.with { agent in
            let (stream, pid) = try await agent.client.start(
                StartProcess(arguments: ["head", "-c", "1000000", "/dev/zero"], replayBytes: 65_536), window: 0)
            try await agent.client.cancel(stream)
            let follower = try await agent.client.open(
                .attachProcess, AttachProcess(pid: pid, offset: 0, mode: .exitOnly))
            _ = try await agent.client.started(follower)
            let exit = try await agent.client.finish(follower).exit
            #expect(exit.code == 0)
            #expect(exit.outputBytes == 1_000_000)
        }
    }

    @Test func aLossyReaderSeesTheGapInTheOffsets() async throws {
        try await AgentFixture.with { agent in
            let (stream, pid) = try await agent.client.start(
                StartProcess(
                    arguments: ["/bin/sh", "-c", "head -c 1000000 /dev/zero; echo end"], attach: .lossy,
                    replayBytes: 65_536), window: 0)
            let waiter = try await agent.client.open(
                .attachProcess, AttachProcess(pid: pid, offset: 0, mode: .exitOnly))
            _ = try await agent.client.started(waiter)
            #expect(try await agent.client.finish(waiter).exit.code == 0)
            try await agent.client.send(.credit(stream: stream, bytes: 1 << 20))
            let first = try await agent.client.next(stream)
            let data = try OutputData(decoding: first.payload)
            #expect(data.offset == 1_000_004 - 65_536)
            let rest = try await agent.client.finish(stream)
            #expect(data.bytes.count + rest.standardOutput.count == 65_536)
            #expect(rest.standardOutput.suffix(4) == Array("end\n".utf8))
        }
    }

    @Test func outputIsReplayedFromAnOffsetAfterTheHostCameBack() async throws {
        try await AgentFixture.with { agent in
            let (stream, pid) = try await agent.client.start(
                StartProcess(arguments: ["/bin/sh", "-c", "echo 0123456789; read x; echo got $x"], takesInput: true))
            let first = try await agent.client.next(stream)
            #expect(try OutputData(decoding: first.payload).bytes == Array("0123456789\n".utf8))
            // The host dies in the middle of a frame; the next one flushes and starts afresh.
            try await agent.client.write([100, 0, 0, 0, 1, 2])
            try await agent.client.synchronize(flush: true)
            let input = try await agent.client.open(.writeInput, WriteInput(pid: pid, closes: true))
            try await agent.client.sendInput(input, Array("it\n".utf8))
            #expect(try await agent.client.result(input).isEmpty)
            let again = try await agent.client.open(
                .attachProcess, AttachProcess(pid: pid, offset: 5, mode: .lossless))
            #expect(try await agent.client.started(again) == pid)
            let outcome = try await agent.client.finish(again)
            #expect(outcome.text == "56789\ngot it\n")
            #expect(outcome.exit.code == 0)
            let past = AttachProcess(pid: pid, offset: 1000, mode: .lossy)
            #expect(try await agent.client.failure(.attachProcess, past)?.code == .invalidArgument)
        }
    }

    @Test func oneHugeOutputDoesNotStarveOthers() async throws {
        try await AgentFixture.with { agent in
            let (flood, _) = try await agent.client.start(StartProcess(arguments: ["yes"]), window: 1 << 30)
            for index in 0..<20 {
                #expect(try await agent.client.run("echo", "\(index)").text == "\(index)\n")
            }
            try await agent.client.cancel(flood)
        }
    }

    @Test func replayMemoryIsBoundedOverAllProcesses() async throws {
        try await AgentFixture.with {
            $0.replayBudget = 1 << 20
        } _: { agent in
            for _ in 0..<12 {
                let outcome = try await agent.client.run(
                    StartProcess(arguments: ["head", "-c", "400000", "/dev/zero"], replayBytes: 1 << 20))
                #expect(outcome.standardOutput.count == 400_000)
            }
            let list = try await agent.client.request(.listProcesses, as: ProcessList.self)
            let held = list.processes.reduce(0) { $0 + $1.outputBytes - $1.firstOffset }
            #expect(held <= 1 << 20)
            #expect(list.processes.last.map { $0.outputBytes - $0.firstOffset } == 400_000)
        }
    }
}
