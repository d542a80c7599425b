/// What a figure counts.
package enum BenchUnit: String, Sendable, Codable {
    case milliseconds = "ms"
    case mebibytes = "MiB"
    case mebibytesPerSecond = "MiB/s"
    /// Of one processor.
    case percent = "%"

    /// Whether more of it is better.
    var isRate: Bool { self == .mebibytesPerSecond }
}

/// One measured figure.
package struct BenchRow: Sendable, Codable {
    package var name: String
    /// How many were under way at once.
    package var concurrency: Int
    package var unit: BenchUnit
    package var statistics: Statistics
    /// Where the time went; empty when it is one piece.
    package var phases: [String: Statistics]
    /// Whether this is an alternative to us and not us.
    package var isBaseline: Bool
    /// The name of the row this one is compared with.
    package var baseline: String?
    /// How many times better than that row, by p50.
    package var ratio: Double?

    /// Makes a row; nil when nothing was measured.
    package init?(
        _ name: String, concurrency: Int = 1, unit: BenchUnit = .milliseconds, _ samples: [Double],
        phases: [[String: Double]] = [], isBaseline: Bool = false, baseline: String? = nil
    ) {
        guard let statistics = Statistics(samples) else { return nil }
        self.name = name
        self.concurrency = concurrency
        self.unit = unit
        self.statistics = statistics
        self.phases = Statistics.byPhase(phases)
        self.isBaseline = isBaseline
        self.baseline = baseline
    }

    private enum CodingKeys: String, CodingKey {
        case name, concurrency, unit, phases, baseline, ratio
        case isBaseline = "is_baseline"
    }

    package init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        name = try values.decode(String.self, forKey: .name)
        concurrency = try values.decode(Int.self, forKey: .concurrency)
        unit = try values.decode(BenchUnit.self, forKey: .unit)
        statistics = try Statistics(from: decoder)
        phases = try values.decode([String: Statistics].self, forKey: .phases)
        isBaseline = try values.decode(Bool.self, forKey: .isBaseline)
        baseline = try values.decodeIfPresent(String.self, forKey: .baseline)
        ratio = try values.decodeIfPresent(Double.self, forKey: .ratio)
    }

    /// The statistics stand beside the name, so that a script reads `.rows[].p50`.
    package func encode(to encoder: any Encoder) throws {
        try statistics.encode(to: encoder)
        var values = encoder.container(keyedBy: CodingKeys.self)
        try values.encode(name, forKey: .name)
        try values.encode(concurrency, forKey: .concurrency)
        try values.encode(unit, forKey: .unit)
        try values.encode(phases, forKey: .phases)
        try values.encode(isBaseline, forKey: .isBaseline)
        try values.encodeIfPresent(baseline, forKey: .baseline)
        try values.encodeIfPresent(ratio, forKey: .ratio)
    }
}
