import Synchronization
import Testing

@testable import ControlPlane

private final class Counter: Sendable {
    private let value = Mutex(0)
    var count: Int { value.withLock { $0 } }
    func increment() { value.withLock { $0 += 1 } }
}

@Suite("BoundedChannel and Latch")
struct ConcurrencyTests {
    @Test("Every element arrives once and in order, though senders must wait for room")
    func backPressure() async throws {
        let channel = BoundedChannel<Int>(capacity: 3)
        let received = try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                for number in 0..<1000 { try await channel.send(number) }
                channel.finish()
            }
            var received: [Int] = []
            while let batch = try await channel.nextBatch() {
                #expect(batch.count <= 3)
                received += batch
            }
            try await group.waitForAll()
            return received
        }
        #expect(received == Array(0..<1000))
    }

    @Test("Offering never waits: past the capacity it is refused")
    func offer() async throws {
        let channel = BoundedChannel<Int>(capacity: 2)
        #expect(channel.offer(1))
        #expect(channel.offer(2))
        #expect(!channel.offer(3))
        #expect(try await channel.nextBatch() == [1, 2])
        #expect(channel.offer(3))
        channel.finish()
        #expect(!channel.offer(4))
        #expect(try await channel.nextBatch() == [3])
        #expect(try await channel.nextBatch() == nil)
    }

    @Test("Finishing lets waiting senders go with an error, and tells the consumer why")
    func finish() async throws {
        struct Reason: Error {}
        let channel = BoundedChannel<Int>(capacity: 1)
        channel.offer(1)
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await #expect(throws: ChannelFinished.self) { try await channel.send(2) } }
            channel.finish(throwing: Reason())
        }
        #expect(try await channel.nextBatch() == [1])
        await #expect(throws: Reason.self) { try await channel.nextBatch() }
    }

    @Test("A cancelled sender and a cancelled consumer stop waiting")
    func cancellation() async throws {
        let full = BoundedChannel<Int>(capacity: 1)
        full.offer(1)
        let empty = BoundedChannel<Int>(capacity: 1)
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await #expect(throws: CancellationError.self) { try await full.send(2) } }
            group.addTask { await #expect(throws: CancellationError.self) { try await empty.nextBatch() } }
            group.cancelAll()
        }
        #expect(try await full.nextBatch() == [1])
    }

    @Test("A latch lets everyone through once it is open, and cancelled waiters out before")
    func latch() async throws {
        let latch = Latch()
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await #expect(throws: CancellationError.self) { try await latch.wait() } }
            group.cancelAll()
        }
        let passed = Counter()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<10 {
                group.addTask {
                    try await latch.wait()
                    passed.increment()
                }
            }
            #expect(passed.count == 0)
            latch.open()
            try await group.waitForAll()
        }
        #expect(passed.count == 10)
        try await latch.wait()
    }
}
