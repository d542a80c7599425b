import SandboxModel
import Synchronization
import Testing

@testable import HostNetwork

@Suite struct DenialCollectorTests {
    private static let second: Int64 = 1_000_000_000

    private final class Told: Sendable {
        let denials = Mutex<[NetworkDenial]>([])
        let timers = Mutex(0)
        var all: [NetworkDenial] { denials.withLock { $0 } }

        func collector() -> DenialCollector {
            let collector = DenialCollector { [self] _, _ in timers.withLock { $0 += 1 } }
            collector.tell { [self] denial in denials.withLock { $0.append(denial) } }
            return collector
        }
    }

    private func denial(_ rule: String = "blocked-address", port: UInt16 = 80) -> NetworkDenial {
        NetworkDenial(
            time: Timestamp(milliseconds: 1), kind: .connection, rule: rule, transport: "tcp", address: "10.0.0.1",
            port: port)
    }

    @Test func theFirstIsToldAtOnceAndTheRestAsOne() {
        let told = Told()
        let collector = told.collector()
        for step in 0..<10 { collector.add(denial(), now: Int64(step)) }
        #expect(told.all.map(\.count) == [1])
        collector.flush(now: DenialCollectorTests.second / 2)
        #expect(told.all.map(\.count) == [1])
        collector.flush(now: DenialCollectorTests.second)
        #expect(told.all.map(\.count) == [1, 9])
        // After a quiet second it is new again.
        collector.flush(now: DenialCollectorTests.second * 2)
        collector.add(denial(), now: DenialCollectorTests.second * 2)
        #expect(told.all.map(\.count) == [1, 9, 1])
        #expect(collector.total == 11)
    }

    @Test func othersAreToldApart() {
        let told = Told()
        let collector = told.collector()
        collector.add(denial(port: 80), now: 0)
        collector.add(denial(port: 81), now: 0)
        collector.add(denial("network-off", port: 80), now: 0)
        #expect(told.all.count == 3)
    }

    @Test func aFloodIsBoundedAndNothingIsLostOfItsCount() {
        let told = Told()
        let collector = told.collector()
        for step in 0..<10_000 {
            collector.add(denial(port: UInt16(step)), now: Int64(step) * 10_000)
        }
        #expect(told.all.count == DenialCollector.mostPerSecond)
        for quarter in 1...40 { collector.flush(now: Int64(quarter) * DenialCollectorTests.second / 4 + 100_000_000) }
        #expect(told.all.map(\.count).reduce(0, +) == 10_000)
        #expect(told.all.contains { $0.rule == DenialCollector.more && $0.count > 9000 })
        #expect(told.all.count <= DenialCollector.mostPerSecond + 300)
    }

    @Test func aTimerRunsOnlyWhileSomethingWaits() {
        let told = Told()
        let collector = told.collector()
        collector.add(denial(), now: 0)
        collector.add(denial(port: 81), now: 0)
        #expect(told.timers.withLock { $0 } == 1)
        collector.flush(now: DenialCollectorTests.second)
        #expect(told.timers.withLock { $0 } == 1)
    }

    @Test func nothingIsToldAfterTheEnd() {
        let told = Told()
        let collector = told.collector()
        collector.add(denial(), now: 0)
        collector.close()
        collector.add(denial(port: 81), now: 0)
        collector.flush(now: DenialCollectorTests.second)
        #expect(told.all.count == 1)
    }
}
