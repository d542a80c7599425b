import GuestClient
import GuestProtocol
import NIOCore
import SandboxModel
import Testing

@Suite struct GuestConnectionTests {
    @Test func `a command's output comes back split by channel with its exit code`() async throws {
        try await AgentFixture.with { fixture in
            let outcome = try await fixture.connection.exec(
                StartProcess(arguments: ["sh", "-c", "echo out; echo err >&2; exit 7"]), outputLimit: 1 << 20)
            #expect(outcome.standardOutput == Array("out\n".utf8))
            #expect(outcome.standardError == Array("err\n".utf8))
            #expect(outcome.exit.code == 7)
            #expect(!outcome.truncated)
        }
    }

    @Test func `output over the limit is cut and the program still runs to its end`() async throws {
        try await AgentFixture.with { fixture in
            let outcome = try await fixture.connection.exec(
                StartProcess(arguments: ["sh", "-c", "head -c 5000000 /dev/zero; exit 3"]), outputLimit: 1000)
            #expect(outcome.truncated)
            #expect(outcome.standardOutput.count == 1000)
            #expect(outcome.exit.code == 3)
        }
    }

    @Test func `a large input passes through a program unharmed`() async throws {
        try await AgentFixture.with { fixture in
            var generator = SystemRandomNumberGenerator()
            let input = (0..<3_000_000).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
            let outcome = try await fixture.connection.exec(
                StartProcess(arguments: ["cat"], takesInput: true), input: input, outputLimit: 4_000_000)
            #expect(outcome.standardOutput == input)
        }
    }

    @Test func `a program that ends without reading its input is no error`() async throws {
        try await AgentFixture.with { fixture in
            let outcome = try await fixture.connection.exec(
                StartProcess(arguments: ["true"], takesInput: true), input: [UInt8](repeating: 1, count: 2_000_000),
                outputLimit: 100)
            #expect(outcome.exit.code == 0)
        }
    }

    @Test func `a missing command is told apart from one that fails`() async throws {
        try await AgentFixture.with { fixture in
            let error = await #expect(throws: MartletError.self) {
                _ = try await fixture.connection.start(StartProcess(arguments: ["martlet-no-such-command"]))
            }
            #expect(error?.details["reason"] == "command_not_found")
        }
    }

    @Test func `many commands at once do not mix their outputs`() async throws {
        try await AgentFixture.with { fixture in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<24 {
                    group.addTask {
                        let outcome = try await fixture.connection.exec(
                            StartProcess(arguments: ["sh", "-c", "for i in 1 2 3; do echo \(number); done"]),
                            outputLimit: 1000)
                        #expect(outcome.standardOutput == Array("\(number)\n\(number)\n\(number)\n".utf8))
                    }
                }
                try await group.waitForAll()
            }
        }
    }

    @Test func `letting go of a stream frees its place in the guest`() async throws {
        try await AgentFixture.with { fixture in
            // More than the agent allows at once: each must be gone before the last can start.
            for _ in 0..<1500 {
                _ = fixture.connection.open(.watchFiles, WatchFiles(path: "/", recursive: false).encoded)
            }
            _ = try await fixture.connection.ping()
            _ = try await fixture.connection.watch(WatchFiles(path: "/", recursive: false))
        }
    }

    @Test func `holding and releasing is answered by an agent that has no means to hold`() async throws {
        try await AgentFixture.with { fixture in
            let held = try await fixture.connection.hold(timeout: .milliseconds(100), flush: true)
            #expect(held == Held(frozen: false, flushed: true))
            #expect(try await !fixture.connection.hold().flushed)
            try await fixture.connection.release()
            try await fixture.connection.release()
        }
    }

    @Test func `cancelling a task that waits for the guest ends the wait`() async throws {
        try await AgentFixture.with { fixture in
            let process = try await fixture.connection.start(StartProcess(arguments: ["sleep", "1000"]))
            await withTaskGroup(of: Bool.self) { group in
                group.addTask {
                    do {
                        _ = try await process.next()
                        return false
                    } catch { return error is CancellationError }
                }
                group.cancelAll()
                for await wasCancelled in group { #expect(wasCancelled) }
            }
            try await fixture.connection.forget(process.pid)
        }
    }
}

@Suite struct HostileGuestTests {
    @Test func `bytes that are no frame close the connection`() async throws {
        let guest = try await HostileGuest.start()
        let answer = guest.connection.open(.ping)
        try guest.send([UInt8](repeating: 0x55, count: 64))
        await #expect(throws: MartletError.self) { _ = try await answer.next() }
        try await guest.connection.closed.get()
    }

    @Test func `more data than was granted closes the connection`() async throws {
        let guest = try await HostileGuest.start()
        let stream = guest.connection.open(.readFile, ReadFile(path: "/x").encoded, window: 1000)
        let open = try #require(try await guest.receiveFrame())
        try guest.send(Frame(stream: open.stream, kind: .data, payload: [UInt8](repeating: 1, count: 1200)))
        var seen = 0
        let error = await #expect(throws: MartletError.self) {
            while case .data(_, let bytes)? = try await stream.next() { seen += bytes.count }
        }
        #expect(seen <= 1000)
        #expect(error?.code == .unavailable)
    }

    @Test func `empty data frames, which would cost memory for nothing, close the connection`() async throws {
        let guest = try await HostileGuest.start()
        let stream = guest.connection.open(.readFile, ReadFile(path: "/x").encoded)
        let open = try #require(try await guest.receiveFrame())
        try guest.send(Frame(stream: open.stream, kind: .data))
        await #expect(throws: MartletError.self) { _ = try await stream.next() }
    }

    @Test func `frames of streams that do not exist are ignored`() async throws {
        let guest = try await HostileGuest.start()
        try guest.send(Frame(stream: 77, kind: .end, payload: [1, 2, 3]))
        try guest.send(Frame(stream: 78, kind: .data, payload: [1]))
        let stream = guest.connection.open(.ping)
        let open = try #require(try await guest.receiveFrame())
        try guest.send(Frame(stream: open.stream, kind: .end))
        guard case .end? = try await stream.next() else {
            Issue.record("no end came")
            return
        }
    }

    @Test func `frames only a host sends close the connection`() async throws {
        let guest = try await HostileGuest.start()
        let stream = guest.connection.open(.ping)
        let open = try #require(try await guest.receiveFrame())
        try guest.send(Frame(stream: open.stream, kind: .open))
        await #expect(throws: MartletError.self) { _ = try await stream.next() }
    }

    @Test func `an answer that cannot be read is an error of that call alone`() async throws {
        let guest = try await HostileGuest.start()
        async let hello = guest.connection.ping()
        let open = try #require(try await guest.receiveFrame())
        try guest.send(Frame(stream: open.stream, kind: .end, payload: [1]))
        do {
            _ = try await hello
            Issue.record("an unreadable answer was believed")
        } catch {
            #expect(error is MartletError)
        }
        #expect(guest.connection.isOpen)
    }

    @Test func `an older agent's shorter answers are taken as they were meant`() async throws {
        let guest = try await HostileGuest.start()
        let thaw = Thaw(wallClockNanoseconds: 1, entropy: [1], hostname: "a", machineID: "b")
        async let thawed: Void = guest.connection.thaw(thaw)
        let open = try #require(try await guest.receiveFrame())
        try guest.send(Frame(stream: open.stream, kind: .end, payload: [1, 1, 1, 1]))
        try await thawed
        async let held = guest.connection.hold()
        let hold = try #require(try await guest.receiveFrame())
        let unknown = GuestFailure(.unsupported, "operation 6 is not known to this agent")
        try guest.send(Frame(stream: hold.stream, kind: .fail, payload: unknown.encoded))
        do {
            _ = try await held
            Issue.record("a refusal was taken for an answer")
        } catch {
            #expect((error as? MartletError)?.details["reason"] == "unsupported")
        }
    }

    @Test func `a promise that was not kept is named`() async throws {
        let guest = try await HostileGuest.start()
        let thaw = Thaw(wallClockNanoseconds: 1, entropy: [1], hostname: "a", machineID: "b", dropsConnections: true)
        async let thawed: Void = guest.connection.thaw(thaw)
        let open = try #require(try await guest.receiveFrame())
        try guest.send(Frame(stream: open.stream, kind: .end, payload: [1, 1, 1, 1, 0, 1]))
        do {
            try await thawed
            Issue.record("half a thaw was believed")
        } catch {
            #expect((error as? MartletError)?.message.contains("connections false") == true)
        }
    }

    @Test func `a guest that goes away fails what was under way`() async throws {
        let guest = try await HostileGuest.start()
        let stream = guest.connection.open(.ping)
        _ = try await guest.receiveFrame()
        guest.connection.close()
        let error = await #expect(throws: MartletError.self) { _ = try await stream.next() }
        #expect(error?.code == .unavailable)
    }

    @Test func `a guest that says nothing runs into the call's time limit`() async throws {
        let guest = try await HostileGuest.start()
        let error = await #expect(throws: MartletError.self) {
            _ = try await guest.connection.ping(timeout: .milliseconds(50))
        }
        #expect(error?.code == .timeout)
    }

    @Test func `control characters in a guest's message do not reach a terminal`() {
        let failure = GuestFailure(.notFound, "a\u{1b}[31mb\nc\u{7f}")
        #expect(failure.martletError.message == "a [31mb c ")
    }
}
