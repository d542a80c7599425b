import FoundationEssentials
import Testing

@testable import MartletBench

@Suite struct BenchReportTests {
    @Test func aRatioSaysHowManyTimesBetterWeAre() throws {
        #expect(Samples.full.rows[0].ratio == 200)
        #expect(Samples.full.rows[1].ratio == nil)
        var rates = Samples.report
        rates.add(BenchRow("upload", unit: .mebibytesPerSecond, [50], baseline: "raw"))
        rates.add(BenchRow("raw", unit: .mebibytesPerSecond, [100], isBaseline: true))
        rates.compare()
        #expect(rates.rows[0].ratio == 0.5)
    }

    @Test func nothingIsComparedWithWhatWasNotMeasuredOrIsOfAnotherKind() {
        var report = Samples.report
        report.add(BenchRow("a", [1], baseline: "missing"))
        report.add(BenchRow("b", [1], baseline: "memory"))
        report.add(BenchRow("memory", unit: .mebibytes, [5], isBaseline: true))
        report.add(BenchRow("c", [0], baseline: "zero"))
        report.add(BenchRow("zero", [0], isBaseline: true))
        // Ours, though it has the name of a baseline.
        report.add(BenchRow("d", [1], baseline: "a"))
        report.compare()
        #expect(report.rows.allSatisfy { $0.ratio == nil })
    }

    @Test func jsonIsOneObjectWithTheFiguresInTheRows() throws {
        let bytes = try JSONEncoder().encode(Samples.full)
        let report = try JSONDecoder().decode(Shape.self, from: bytes)
        #expect(report.benchmark == "create" && report.version == "1.2.3" && report.template == "base")
        #expect(report.date == "2023-11-14T22:13:20.000Z")
        #expect(report.machine.memory_bytes == 24 << 30 && report.machine.accelerator == "tcg")
        let row = try #require(report.rows.first)
        #expect((row.min, row.p50, row.p99, row.max) == (10, 10, 20, 20))
        #expect(row.runs == 2 && row.unit == "ms" && row.ratio == 200 && !row.is_baseline)
        #expect(row.phases["thaw"]?.max == 6)
        #expect(report.changes.first?.growth == 3)
        #expect(report.checks.first?.passed == false)
    }

    @Test func aReportIsReadBackAsItWasWritten() throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        let bytes = try encoder.encode(Samples.full)
        let read = try JSONDecoder().decode(BenchReport.self, from: bytes)
        #expect(try encoder.encode(read) == bytes)
    }

    @Test func oneCheckThatFailsIsAFailure() {
        #expect(Samples.report.hasPassed)
        #expect(!Samples.full.hasPassed)
    }

    /// What scripts rely on.
    private struct Shape: Decodable {
        struct Machine: Decodable {
            var memory_bytes: UInt64
            var accelerator: String
        }
        struct Figures: Decodable { var max: Double }
        struct Row: Decodable {
            var runs: Int
            var min: Double
            var p50: Double
            var p99: Double
            var max: Double
            var unit: String
            var ratio: Double?
            var is_baseline: Bool
            var phases: [String: Figures]
        }
        struct Change: Decodable { var growth: Double }
        struct Check: Decodable { var passed: Bool }
        var benchmark: String
        var version: String
        var date: String
        var template: String
        var machine: Machine
        var rows: [Row]
        var changes: [Change]
        var checks: [Check]
    }
}
