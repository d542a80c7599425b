import SandboxModel

/// Everything one benchmark found, with what is needed to judge it.
package struct BenchReport: Sendable, Codable {
    /// A number before and after something that should leave no trace.
    package struct Change: Sendable, Codable {
        package var name: String
        package var unit: String
        package var before: Double
        package var after: Double
        package var growth: Double

        package init(_ name: String, unit: String, before: Double, after: Double) {
            self.name = name
            self.unit = unit
            self.before = Statistics.rounded(before)
            self.after = Statistics.rounded(after)
            growth = Statistics.rounded(after - before)
        }
    }

    /// Something that must be true, or that was promised of a machine like the one in the specification.
    package struct Check: Sendable, Codable {
        package var name: String
        package var passed: Bool
        package var detail: String
        /// Whether it only informs: a slower machine does not make the run a failure.
        package var isPromise: Bool

        package init(_ name: String, passed: Bool, detail: String, isPromise: Bool = false) {
            self.name = name
            self.passed = passed
            self.detail = detail
            self.isPromise = isPromise
        }

        private enum CodingKeys: String, CodingKey {
            case name, passed, detail
            case isPromise = "is_promise"
        }
    }

    package var benchmark: String
    /// Martlet's own version.
    package var version: String
    package var date: Timestamp
    package var template: String
    package var machine: BenchMachine
    package var rows: [BenchRow] = []
    package var changes: [Change] = []
    package var checks: [Check] = []
    /// How figures were taken, what bounds them, and what could not be measured.
    package var notes: [String] = []

    package init(benchmark: String, version: String, date: Timestamp, template: String, machine: BenchMachine) {
        self.benchmark = benchmark
        self.version = version
        self.date = date
        self.template = template
        self.machine = machine
    }

    /// Whether everything that must be true is.
    package var hasPassed: Bool { checks.allSatisfy { $0.passed || $0.isPromise } }

    /// Adds a row if there is one.
    mutating func add(_ row: BenchRow?) {
        if let row { rows.append(row) }
    }

    /// Says whether a row that was measured keeps what is promised of it.
    mutating func promise(
        _ what: String, of row: String, concurrency: Int = 1, atMost limit: Double,
        _ figure: KeyPath<Statistics, Double> = \.p50
    ) {
        guard let row = rows.first(where: { $0.name == row && $0.concurrency == concurrency }) else { return }
        let found = row.statistics[keyPath: figure]
        checks.append(
            Check(
                "\(what) <= \(Int(limit)) \(row.unit.rawValue)", passed: found <= limit,
                detail: "\(found) \(row.unit.rawValue)", isPromise: true))
    }

    /// Fills in the ratios: how many times better each row is than the one it is compared with.
    package mutating func compare() {
        for index in rows.indices {
            let row = rows[index]
            guard let name = row.baseline, let other = rows.first(where: { $0.name == name && $0.isBaseline }),
                other.unit == row.unit, row.statistics.p50 > 0, other.statistics.p50 > 0
            else { continue }
            let ratio = other.statistics.p50 / row.statistics.p50
            rows[index].ratio = Statistics.rounded(row.unit.isRate ? 1 / ratio : ratio)
        }
    }
}
