import CLinux
import Dispatch
import Glibc
import GuestAgent
import GuestProtocol
import LinuxSystem
import Testing

/// Runs what blocks on a queue of its own.
func blocking<T: Sendable>(_ body: @escaping @Sendable () throws -> T) async throws -> T {
    try await withCheckedThrowingContinuation { continuation in
        DispatchQueue(label: "service").async { continuation.resume(with: Result { try body() }) }
    }
}

@Suite struct ConnectTests {
    /// Opens a connection through the agent: its stream, and the service's end.
    private func connect(_ agent: AgentFixture, _ service: Service, window: UInt32 = TestClient.window) async throws
        -> (stream: UInt32, peer: Descriptor)
    {
        let stream = try await agent.client.open(.connect, window: window, Connect(port: service.port))
        let frame = try await agent.client.next(stream)
        #expect(frame.kind == .reply)
        #expect(try ConnectionEvent(decoding: frame.payload) == ConnectionEvent(.opened))
        return (stream, try await blocking { try service.accept() })
    }

    @Test(arguments: [false, true])
    func bytesPassBothWaysAndEachEndIsClosedOnItsOwn(ipv6: Bool) async throws {
        try await AgentFixture.with { agent in
            let (stream, peer) = try await connect(agent, try Service(ipv6: ipv6))
            try await agent.client.sendInput(stream, Array("question".utf8))
            #expect(try await blocking { try peer.readToEnd() } == Array("question".utf8))
            // The service still answers after it has seen the end.
            try await blocking {
                try peer.writeAll(Array("answer".utf8))
                peer.finishSending()
            }
            let data = try await agent.client.next(stream)
            #expect(data.kind == .data && data.payload == Array("answer".utf8))
            let finished = try await agent.client.next(stream)
            #expect(finished.kind == .reply)
            #expect(try ConnectionEvent(decoding: finished.payload) == ConnectionEvent(.finished))
            #expect(try await agent.client.next(stream).kind == .end)
        }
    }

    @Test func theServiceMayEndFirst() async throws {
        try await AgentFixture.with { agent in
            let (stream, peer) = try await connect(agent, try Service())
            peer.finishSending()
            #expect(try await agent.client.next(stream).kind == .reply)
            try await agent.client.sendInput(stream, Array("late".utf8))
            #expect(try await blocking { try peer.readToEnd() } == Array("late".utf8))
            #expect(try await agent.client.next(stream).kind == .end)
        }
    }

    @Test func whereNothingListensIsRefused() async throws {
        try await AgentFixture.with { agent in
            let service = try Service()
            service.close()
            let failure = try await agent.client.failure(.connect, Connect(port: service.port))
            #expect(failure?.code == .connectionRefused)
            #expect(failure?.message.contains("nothing listens") == true)
            #expect(try await agent.client.failure(.connect, Connect(port: 0))?.code == .invalidArgument)
        }
    }

    @Test func largeTransfersPassUnharmedBothWaysAtOnce() async throws {
        try await AgentFixture.with { agent in
            let (stream, peer) = try await connect(agent, try Service(), window: 262_144)
            let bytes = (0..<5_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
            async let received = blocking { try peer.readToEnd() }
            async let written: Void = blocking {
                try peer.writeAll(bytes)
                peer.finishSending()
            }
            try await agent.client.sendInput(stream, bytes)
            #expect(try await agent.client.collect(stream) == bytes)
            #expect(try await received == bytes)
            try await written
        }
    }

    @Test func aServiceThatDoesNotReadHoldsUpOnlyItself() async throws {
        try await AgentFixture.with { agent in
            let service = try Service()
            let (stuck, peer) = try await connect(agent, service)
            // As much as there is credit for, and none more is given while the service does not read.
            for _ in 0..<2 {
                let chunk = [UInt8](repeating: 1, count: 65_536)
                try await agent.client.send(Frame(stream: stuck, kind: .data, payload: chunk))
            }
            let (stream, other) = try await connect(agent, service)
            try await agent.client.sendInput(stream, [7])
            #expect(try await blocking { try other.readToEnd() } == [7])
            try await agent.client.send(Frame(stream: stuck, kind: .end))
            #expect(try await blocking { try peer.readToEnd().count } == 131_072)
        }
    }

    @Test func noMoreIsReadFromTheServiceThanTheHostGaveCreditFor() async throws {
        try await AgentFixture.with { agent in
            let (stream, peer) = try await connect(agent, try Service(), window: 1000)
            try await blocking { try peer.writeAll([UInt8](repeating: 5, count: 3000)) }
            var seen = 0
            while seen < 1000 { seen += try await agent.client.next(stream).payload.count }
            #expect(seen == 1000)
            // Without credit the next thing heard of is another stream's answer.
            _ = try await agent.client.request(.ping)
            try await agent.client.send(.credit(stream: stream, bytes: 2000))
            while seen < 3000 { seen += try await agent.client.next(stream).payload.count }
            #expect(seen == 3000)
        }
    }

    @Test func aHostThatSendsMoreThanItsCreditLosesTheConnectionAlone() async throws {
        try await AgentFixture.with { agent in
            let (stream, peer) = try await connect(agent, try Service())
            var stays = 1
            setsockopt(peer.number, SOL_SOCKET, SO_RCVBUF, &stays, socklen_t(MemoryLayout<Int32>.size))
            let chunk = [UInt8](repeating: 0, count: Frame.maxPayload)
            for _ in 0..<256 { try await agent.client.send(Frame(stream: stream, kind: .data, payload: chunk)) }
            let frame = try await agent.client.next(stream)
            #expect(frame.kind == .fail)
            #expect(try GuestFailure(decoding: frame.payload).code == .invalidArgument)
            _ = try await agent.client.request(.ping)
        }
    }

    @Test func aResetIsToldAfterWhatWasSentBeforeIt() async throws {
        try await AgentFixture.with { agent in
            let (stream, peer) = try await connect(agent, try Service())
            try await agent.client.send(Frame(stream: stream, kind: .data, payload: [1, 2, 3]))
            #expect(try await blocking { try peer.read(upTo: 3) } == [1, 2, 3])
            #expect(clinux_reset_at_close(peer.number) == 0)
            peer.close()
            let frame = try await agent.client.next(stream)
            #expect(frame.kind == .fail)
            #expect(try GuestFailure(decoding: frame.payload).code == .connectionReset)
        }
    }

    @Test func anAnswerOfAServiceThatDoesNotWantTheRestIsStillHeard() async throws {
        try await AgentFixture.with { agent in
            let (stream, peer) = try await connect(agent, try Service())
            try await blocking {
                try peer.writeAll(Array("too large".utf8))
                peer.finishSending()
                shutdown(peer.number, Int32(SHUT_RD))
            }
            let data = try await agent.client.next(stream)
            #expect(data.payload == Array("too large".utf8))
            #expect(try await agent.client.next(stream).kind == .reply)
        }
    }

    @Test func cancellingResetsTheServicesConnection() async throws {
        try await AgentFixture.with { agent in
            let (stream, peer) = try await connect(agent, try Service())
            try await agent.client.cancel(stream)
            let failure = await #expect(throws: SystemError.self) { try await blocking { try peer.readToEnd() } }
            #expect(failure?.errno == ECONNRESET)
        }
    }

    @Test func aNewHostResetsTheConnectionsOfTheOneBefore() async throws {
        try await AgentFixture.with { agent in
            let (_, peer) = try await connect(agent, try Service())
            try await agent.client.synchronize(flush: true)
            let failure = await #expect(throws: SystemError.self) { try await blocking { try peer.readToEnd() } }
            #expect(failure?.errno == ECONNRESET)
        }
    }

    @Test func theNumberOfConnectionsIsBounded() async throws {
        try await AgentFixture.with(configure: { $0.maxConnections = 3 }) { agent in
            let service = try Service()
            var open: [(stream: UInt32, peer: Descriptor)] = []
            for _ in 0..<3 { open.append(try await connect(agent, service)) }
            let failure = try await agent.client.failure(.connect, Connect(port: service.port))
            #expect(failure?.code == .limitReached)
            try await agent.client.cancel(open.removeLast().stream)
            open.append(try await connect(agent, service))
            withExtendedLifetime(open) {}
        }
    }

    @Test func manyConnectionsDoNotMix() async throws {
        try await AgentFixture.with { agent in
            let service = try Service()
            var open: [(stream: UInt32, peer: Descriptor)] = []
            for _ in 0..<200 { open.append(try await connect(agent, service)) }
            for (number, one) in open.enumerated() {
                try await agent.client.sendInput(one.stream, Array("\(number)".utf8))
            }
            for (number, one) in open.enumerated() {
                #expect(try await blocking { try one.peer.readToEnd() } == Array("\(number)".utf8))
                one.peer.close()
                #expect(try await agent.client.next(one.stream).kind == .reply)
                #expect(try await agent.client.next(one.stream).kind == .end)
            }
        }
    }
}
