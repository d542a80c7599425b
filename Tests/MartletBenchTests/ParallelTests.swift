import SandboxModel
import Synchronization
import Testing

@testable import MartletBench

@Suite struct ParallelTests {
    @Test(arguments: [1, 3, 10, 100])
    func everyOutcomeComesInTheOrderOfTheListWithNoMoreAtOnceThanAllowed(limit: Int) async throws {
        let running = Mutex((now: 0, most: 0))
        let results = await inParallel(Array(0..<20), atOnce: limit) { item in
            running.withLock {
                $0.now += 1
                $0.most = max($0.most, $0.now)
            }
            await Task.yield()
            running.withLock { $0.now -= 1 }
            if item == 5 { throw MartletError(.internal, "five") }
            return item * 2
        }
        #expect(results.count == 20)
        for (index, result) in results.enumerated() where index != 5 { #expect(try result.get() == index * 2) }
        #expect(throws: MartletError.self) { try results[5].get() }
        #expect(running.withLock { $0.most } <= limit)
    }

    @Test func anEmptyListIsDoneAtOnce() async {
        #expect(await inParallel([Int](), atOnce: 4) { $0 }.isEmpty)
    }
}
