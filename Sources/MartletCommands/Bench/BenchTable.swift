import MartletBench

/// A benchmark's report for people.
enum BenchTable {
    static func text(_ report: BenchReport) -> String {
        var parts = [heading(report), rows(report)]
        if report.rows.contains(where: { !$0.phases.isEmpty }) { parts.append(phases(report)) }
        if !report.changes.isEmpty { parts.append(changes(report)) }
        if !report.checks.isEmpty { parts.append(checks(report)) }
        if !report.notes.isEmpty {
            parts.append(report.notes.map { "note: " + Printable.line($0) }.joined(separator: "\n") + "\n")
        }
        return parts.joined(separator: "\n")
    }

    private static func heading(_ report: BenchReport) -> String {
        let machine = report.machine
        return FactTable.text([
            (
                "benchmark",
                "\(report.benchmark), template \(report.template), martlet \(report.version), \(report.date)"
            ),
            (
                "machine",
                "\(machine.cpus) processors, \(machine.model), \(Format.bytes(machine.memoryBytes)), Linux "
                    + machine.kernel
            ),
            ("engine", "\(machine.engine) \(machine.engineVersion), \(machine.accelerator)"),
            ("load", Format.decimal(machine.loadAverage, 2) + " when it began"),
        ])
    }

    private static func rows(_ report: BenchReport) -> String {
        var table = Table(["FIGURE", "AT ONCE", "RUNS", "MIN", "P50", "P99", "MAX", "UNIT", "COMPARED"])
        for row in report.rows {
            let figures = row.statistics
            let ratio = row.ratio.map { "\(Format.decimal($0, $0 < 10 ? 2 : 0))x \(row.baseline ?? "")" }
            table.add(
                [row.isBaseline ? "(\(row.name))" : row.name, "\(row.concurrency)", "\(figures.runs)"]
                    + [figures.min, figures.p50, figures.p99, figures.max].map { Format.decimal($0, 2) }
                    + [row.unit.rawValue, ratio ?? ""])
        }
        return table.text
    }

    private static func phases(_ report: BenchReport) -> String {
        var table = Table(["PHASE OF", "AT ONCE", "PHASE", "MIN", "P50", "P99", "MAX", "UNIT"])
        for row in report.rows {
            for (name, figures) in row.phases.sorted(by: { $0.key < $1.key }) {
                table.add(
                    [row.name, "\(row.concurrency)", name]
                        + [figures.min, figures.p50, figures.p99, figures.max].map { Format.decimal($0, 2) }
                        + [row.unit.rawValue])
            }
        }
        return table.text
    }

    private static func changes(_ report: BenchReport) -> String {
        var table = Table(["GROWTH OF", "BEFORE", "AFTER", "GROWTH", "UNIT"])
        for change in report.changes {
            let digits = change.unit.isEmpty ? 0 : 2
            table.add(
                [change.name] + [change.before, change.after, change.growth].map { Format.decimal($0, digits) }
                    + [change.unit])
        }
        return table.text
    }

    private static func checks(_ report: BenchReport) -> String {
        var table = Table(["CHECK", "RESULT", "DETAIL"])
        for check in report.checks {
            table.add([check.name, check.passed ? "holds" : check.isPromise ? "missed" : "FAILS", check.detail])
        }
        return table.text
    }
}
