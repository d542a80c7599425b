import Testing

@testable import MartletBench

@Suite struct StatisticsTests {
    @Test func nothingMeasuredIsNoStatistics() {
        #expect(Statistics([]) == nil)
        #expect(BenchRow("nothing", []) == nil)
    }

    @Test func oneRunIsAllOfThem() throws {
        let one = try #require(Statistics([7]))
        #expect((one.runs, one.min, one.p50) == (1, 7, 7))
        #expect((one.p99, one.max) == (7, 7))
    }

    @Test func percentilesAreMeasuredValuesByNearestRank() throws {
        let hundred = try #require(Statistics((1...100).shuffled().map(Double.init)))
        #expect((hundred.min, hundred.p50, hundred.p99, hundred.max) == (1, 50, 99, 100))
        let four = try #require(Statistics([4, 1, 3, 2]))
        #expect((four.min, four.p50, four.p99, four.max) == (1, 2, 4, 4))
        let thousand = try #require(Statistics((1...1000).map(Double.init)))
        #expect((thousand.p50, thousand.p99) == (500, 990))
    }

    @Test func figuresAreKeptToAThousandth() throws {
        let figures = try #require(Statistics([1.23456, 1.23444]))
        #expect((figures.min, figures.max) == (1.234, 1.235))
    }

    @Test func aPhaseCountsTheRunsThatHadIt() {
        let phases = Statistics.byPhase([["thaw": 1, "spawn": 5], ["thaw": 3]])
        #expect(phases["thaw"]?.runs == 2 && phases["thaw"]?.max == 3)
        #expect(phases["spawn"]?.runs == 1 && phases["spawn"]?.p50 == 5)
    }
}
