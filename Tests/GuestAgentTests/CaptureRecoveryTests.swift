import CLinux
import Foundation
import Glibc
import GuestAgent
import GuestProtocol
import LinuxSystem
import Testing

/// A capture is taken at any byte of either direction; who restores it connects anew and takes over.
@Suite struct CaptureRecoveryTests {
    /// What the host was sending is cut at every byte: the rest never comes.
    @Test func theAgentRecoversFromEveryCutOfWhatItReceives() async throws {
        try await AgentFixture.with { agent in
            let client = agent.client
            let (stream, pid) = try await client.start(StartProcess(arguments: ["cat"], takesInput: true))
            var sent: [UInt8] = []
            Frame(stream: stream, kind: .data, payload: Array("input".utf8)).encode(into: &sent)
            Frame.credit(stream: stream, bytes: 100).encode(into: &sent)
            Frame(stream: 90, kind: .open, payload: OpenRequest(.ping).encoded).encode(into: &sent)
            sent += SyncMarker.bytes(nonce: [UInt8](repeating: 3, count: SyncMarker.nonceLength))
            let message = StatRequests.missing
            Frame(stream: 91, kind: .open, payload: message.encoded).encode(into: &sent)
            Frame(stream: 91, kind: .cancel).encode(into: &sent)
            for cut in 0...sent.count {
                try await client.write(Array(sent.prefix(cut)))
                try await client.synchronize(flush: true)
                #expect(try await client.request(.ping, as: GuestHello.self).generation == 1, "cut at \(cut)")
            }
            let list = try await client.request(.listProcesses, as: ProcessList.self)
            #expect(list.processes.map(\.pid) == [pid] && list.processes[0].exit == nil)
        }
    }

    /// What the agent was sending is cut anywhere, and the rest arrives late, before its answer to the marker.
    @Test func theHostFindsTheAnswerBehindTheRestOfWhatWasCut() async throws {
        try await AgentFixture.with { agent in
            let client = agent.client
            // Each byte of the first frames' heads and tails, and then some in the middle.
            for skipped in Array(0...60) + (1...12).map({ $0 * 9973 }) {
                let (stream, pid) = try await flood(client)
                try await client.skip(skipped)
                try await client.synchronize(flush: true)
                // A stream of the earlier connection is over, whatever it had been promised.
                try await client.send(.credit(stream: stream, bytes: 1 << 20))
                let info = try await client.request(.inspectProcess, ProcessReference(pid: pid), as: ProcessInfo.self)
                #expect(info.exit == nil, "skipped \(skipped)")
                _ = try await client.request(.forgetProcess, ProcessReference(pid: pid))
            }
        }
    }

    /// The agent's half-written frame is stuck: the other half is given up and the answer comes first.
    @Test func aFrameThatWasCutOffIsNeverCompleted() async throws {
        try await AgentFixture.with { agent in
            let (_, pid) = try await flood(agent.client)
            // Until the port takes no more: the agent stands in the middle of a frame then.
            try await agent.client.waitUntilFull()
            let unread = try await agent.client.synchronizeCounting()
            #expect(unread > 0)
            let info = try await agent.client.request(.inspectProcess, ProcessReference(pid: pid), as: ProcessInfo.self)
            #expect(info.exit == nil)
            // Its output from anywhere that is still held is whole.
            let again = try await agent.client.open(
                .attachProcess, window: 200_000, AttachProcess(pid: pid, offset: info.firstOffset, mode: .lossless))
            _ = try await agent.client.started(again)
            var offset: UInt64?
            for _ in 0..<3 {
                let data = try OutputData(decoding: try await agent.client.next(again).payload)
                if let offset { #expect(data.offset == offset) }
                #expect(data.bytes == (0..<data.bytes.count).map { (Int(data.offset) + $0) % 2 == 0 ? 120 : 10 })
                offset = data.offset + UInt64(data.bytes.count)
            }
        }
    }

    /// Its only reader was the host the capture left behind.
    @Test func aProcessWhoseLosslessFollowerVanishedGoesOn() async throws {
        try await AgentFixture.with { agent in
            let client = agent.client
            let (_, pid) = try await client.start(
                StartProcess(
                    arguments: ["head", "-c", "1000000", "/dev/zero"], attach: .lossless, replayBytes: 65_536),
                window: 0)
            let held = try await client.request(.inspectProcess, ProcessReference(pid: pid), as: ProcessInfo.self)
            #expect(held.exit == nil)
            try await client.synchronize(flush: true)
            let waiter = try await client.open(.attachProcess, AttachProcess(pid: pid, offset: 0, mode: .exitOnly))
            _ = try await client.started(waiter)
            let exit = try await client.finish(waiter).exit
            #expect(exit.code == 0 && exit.outputBytes == 1_000_000)
            // The last of it is kept for who asks.
            let replay = try await client.open(
                .attachProcess, AttachProcess(pid: pid, offset: 1_000_000 - 65_536, mode: .lossless))
            _ = try await client.started(replay)
            #expect(try await client.finish(replay).standardOutput.count == 65_536)
        }
    }

    /// A program in the middle of its input and output, held while the host changes.
    @Test(.enabled(if: Privilege.controlGroupRoot != nil, "needs a writable version 2 control group"))
    func aHeldExecGoesOnAfterTheThaw() async throws {
        try await ControlGroup.with { group in
            try await AgentFixture.with {
                $0.controlGroup = group.path
            } _: { agent in
                let client = agent.client
                let script = "echo first; read a; echo got $a"
                let (stream, pid) = try await client.start(
                    StartProcess(arguments: ["/bin/sh", "-c", script], takesInput: true))
                #expect(try OutputData(decoding: try await client.next(stream).payload).bytes == Array("first\n".utf8))
                let request = Hold(timeoutMilliseconds: 30_000, flush: false)
                #expect(try await client.request(.hold, request, as: Held.self).frozen)
                // Input that the guest has, for a program that cannot take it.
                try await client.sendInput(stream, Array("word\n".utf8), ends: false)
                _ = try await client.request(.ping)
                try await client.write([9, 0, 0])
                try await client.synchronize(flush: true)
                let again = try await client.open(
                    .attachProcess, AttachProcess(pid: pid, offset: 0, mode: .lossless))
                #expect(try await client.started(again) == pid)
                let thaw = Thaw(wallClockNanoseconds: 1, entropy: [1], hostname: "", machineID: "", keepsIdentity: true)
                #expect(try await client.request(.thaw, thaw, as: Thawed.self).isComplete)
                let outcome = try await client.finish(again)
                #expect(outcome.text == "first\ngot word\n")
                #expect(outcome.exit.code == 0)
            }
        }
    }

    /// A program that writes without end, followed by a stream that has credit for all of it.
    private func flood(_ client: TestClient) async throws -> (stream: UInt32, pid: Int32) {
        let request = StartProcess(arguments: ["yes", "x"], attach: .lossless, replayBytes: 65_536)
        return try await client.start(request, window: 1 << 30)
    }
}

private enum StatRequests {
    static let missing = OpenRequest(.statFile, body: FileReference(path: "/martlet-none").encoded)
}
