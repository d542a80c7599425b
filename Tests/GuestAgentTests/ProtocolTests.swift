import GuestAgent
import GuestProtocol
import Testing

@Suite struct ProtocolTests {
    @Test func whatTheAgentDoesNotKnowFailsAlone() async throws {
        try await AgentFixture.with { agent in
            let client = agent.client
            try await client.send(Frame(stream: 1000, kind: .open, payload: [99, 0, 0, 0, 0, 0, 0, 0, 0]))
            #expect(try await failure(client, 1000).code == .unsupported)
            try await client.send(Frame(stream: 1001, kind: .open, payload: [Operation.startProcess.rawValue]))
            #expect(try await failure(client, 1001).code == .invalidArgument)
            try await client.send(Frame(stream: 1002, kind: .open))
            #expect(try await failure(client, 1002).code == .invalidArgument)
            let body = OpenRequest(.readFile, body: [255, 255, 255, 255, 1])
            try await client.send(Frame(stream: 1003, kind: .open, payload: body.encoded))
            #expect(try await failure(client, 1003).code == .invalidArgument)
            #expect(try await client.run("true").exit.code == 0)
        }
    }

    @Test func framesThatMakeNoSenseEndTheirStreamOnly() async throws {
        try await AgentFixture.with { agent in
            let client = agent.client
            for kind in [Frame.Kind.reply, .fail] {
                let (stream, _) = try await client.start(StartProcess(arguments: ["sleep", "1000"]))
                try await client.send(Frame(stream: stream, kind: kind))
                #expect(try await failure(client, stream).code == .invalidArgument)
            }
            let (short, _) = try await client.start(StartProcess(arguments: ["sleep", "1000"]))
            try await client.send(Frame(stream: short, kind: .credit, payload: [1]))
            #expect(try await failure(client, short).code == .invalidArgument)
            let (twice, _) = try await client.start(StartProcess(arguments: ["sleep", "1000"]))
            try await client.send(Frame(stream: twice, kind: .open, payload: OpenRequest(.ping).encoded))
            #expect(try await failure(client, twice).code == .invalidArgument)
            // For streams that are not there nothing is said at all.
            for kind in Frame.Kind.allCases where kind != .open {
                try await client.send(Frame(stream: 77_777, kind: kind, payload: [1, 2, 3, 4]))
            }
            #expect(try await client.run("true").exit.code == 0)
        }
    }

    @Test func rubbishIsSkippedUntilTheHostStartsAfresh() async throws {
        try await AgentFixture.with { agent in
            let (_, pid) = try await agent.client.start(StartProcess(arguments: ["sleep", "1000"]))
            try await agent.client.write((0..<200_000).map { UInt8(truncatingIfNeeded: $0 &* 73 &+ $0 >> 7) })
            try await agent.client.synchronize()
            let list = try await agent.client.request(.listProcesses, as: ProcessList.self)
            #expect(list.processes.map(\.pid) == [pid])
        }
    }

    @Test func streamsAreLimited() async throws {
        try await AgentFixture.with {
            $0.maxStreams = 3
        } _: { agent in
            for _ in 0..<3 { _ = try await agent.client.start(StartProcess(arguments: ["sleep", "1000"])) }
            #expect(try await agent.client.failure(.ping)?.code == .limitReached)
            try await agent.client.synchronize()
            #expect(try await agent.client.failure(.ping) == nil)
        }
    }

    @Test func randomFramesNeitherKillNorHangTheAgent() async throws {
        try await AgentFixture.with { agent in
            var random = SplitMix(state: 42)
            for _ in 0..<2000 {
                let kinds = Frame.Kind.allCases
                var payload = (0..<Int.random(in: 0..<64, using: &random)).map { _ in
                    UInt8.random(in: 0...255, using: &random)
                }
                // Only operations that cannot change this machine.
                if let first = payload.first, (2...5).contains(first) || first > 19 { payload[0] = 1 }
                try await agent.client.send(
                    Frame(
                        stream: .random(in: 50_000..<50_016, using: &random),
                        kind: kinds[.random(in: 0..<kinds.count, using: &random)], payload: payload))
            }
            try await agent.client.synchronize()
            #expect(try await agent.client.run("echo", "alive").text == "alive\n")
        }
    }

    @Test func theAgentEndsWithItsStreamAndTakesItsProcessesAlong() async throws {
        var pid: Int32 = 0
        try await AgentFixture.with { agent in
            pid = try await agent.client.start(StartProcess(arguments: ["sleep", "1000"])).pid
            #expect(isRunning(pid))
        }
        #expect(!isRunning(pid))
    }

    private func failure(_ client: TestClient, _ stream: UInt32) async throws -> GuestFailure {
        let frame = try await client.next(stream)
        try #require(frame.kind == .fail)
        return try GuestFailure(decoding: frame.payload)
    }
}
