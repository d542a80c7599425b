import SandboxModel

@testable import MartletBench

/// Reports for the tests.
enum Samples {
    static var report: BenchReport {
        BenchReport(
            benchmark: "create", version: "1.2.3", date: Timestamp(milliseconds: 1_700_000_000_000), template: "base",
            machine: BenchMachine(
                cpus: 2, model: "Example 9000", memoryBytes: 24 << 30, kernel: "6.1.0", engine: "qemu",
                engineVersion: "10.0.2", accelerator: "tcg", loadAverage: 0.25))
    }

    /// With one of everything.
    static var full: BenchReport {
        var report = report
        report.add(BenchRow("create warm", [10, 20], phases: [["thaw": 4], ["thaw": 6]], baseline: "raw boot"))
        report.add(BenchRow("raw boot", [2000], isBaseline: true))
        report.changes = [.init("daemon: descriptors", unit: "", before: 40, after: 43)]
        report.checks = [.init("no growth", passed: false, detail: "3")]
        report.notes = ["a note\nwith \u{1B}[31mcolour"]
        report.compare()
        return report
    }
}
