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
        #expect(report.checks.first?.passed == false && report.checks.first?.is_promise == false)
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

    @Test func aPromiseThatIsMissedIsToldAndIsNoFailure() throws {
        var report = Samples.report
        report.add(BenchRow("fork", concurrency: 4, [100, 200]))
        report.promise("4 children, p50", of: "fork", concurrency: 4, atMost: 99)
        report.promise("4 children, p50", of: "fork", concurrency: 4, atMost: 100)
        report.promise("4 children, max", of: "fork", concurrency: 4, atMost: 199, \.max)
        report.promise("nobody measured it", of: "fork", concurrency: 16, atMost: 1)
        #expect(report.checks.map(\.passed) == [false, true, false])
        #expect(report.checks.map(\.name)[0] == "4 children, p50 <= 99 ms")
        #expect(report.checks.map(\.detail) == ["100.0 ms", "100.0 ms", "200.0 ms"])
        #expect(report.hasPassed)
        report.checks.append(.init("nothing is left", passed: false, detail: "1"))
        #expect(!report.hasPassed)
    }

    @Test func containersAreComparedWithInANote() {
        var report = Samples.report
        report.noteComparisons()
        #expect(report.notes.isEmpty)
        report.add(BenchRow(PauseBenchmark.resume, [50]))
        report.add(BenchRow(ForkBenchmark.pause, concurrency: 4, [10]))
        report.add(BenchRow(Baselines.containerCheckpoint, [60], isBaseline: true))
        report.add(BenchRow(Baselines.containerRestore, [150], isBaseline: true))
        report.noteComparisons()
        #expect(
            report.notes == [
                "compared with containers, by p50: \(PauseBenchmark.resume): 3.0x \(Baselines.containerRestore)"
            ])
    }

    @Test(arguments: [(20, 1, 20), (20, 4, 10), (20, 16, 5), (20, 64, 3), (2, 64, 2), (1, 1, 1), (100, 64, 12)])
    func theMoreChildrenTheFewerForks(runs: Int, children: Int, rounds: Int) {
        #expect(ForkBenchmark.rounds(runs, children: children) == rounds)
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
        struct Check: Decodable {
            var passed: Bool
            var is_promise: Bool
        }
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
