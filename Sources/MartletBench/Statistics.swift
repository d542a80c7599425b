/// What a series of measurements says: its ends, its middle and its tail.
package struct Statistics: Sendable, Equatable, Codable {
    /// How many measurements there were.
    package var runs: Int
    package var min: Double
    /// Half of the runs were no higher.
    package var p50: Double
    /// 99 of 100 runs were no higher; with fewer than 100 runs this is the highest.
    package var p99: Double
    package var max: Double

    /// Sums up; nil when nothing was measured. Figures are kept to a thousandth.
    package init?(_ samples: [Double]) {
        guard !samples.isEmpty else { return nil }
        let sorted = samples.sorted()
        runs = sorted.count
        min = Statistics.rounded(sorted[0])
        p50 = Statistics.rounded(Statistics.percentile(sorted, 50))
        p99 = Statistics.rounded(Statistics.percentile(sorted, 99))
        max = Statistics.rounded(sorted[sorted.count - 1])
    }

    /// The nearest-rank percentile: always a value that was measured, never one between two.
    static func percentile(_ sorted: [Double], _ percent: Int) -> Double {
        let rank = (sorted.count * percent + 99) / 100
        return sorted[Swift.max(0, Swift.min(sorted.count - 1, rank - 1))]
    }

    static func rounded(_ value: Double) -> Double { (value * 1000).rounded() / 1000 }

    /// Sums up each phase over the runs that had it.
    package static func byPhase(_ runs: [[String: Double]]) -> [String: Statistics] {
        var samples: [String: [Double]] = [:]
        for phases in runs {
            for (name, value) in phases { samples[name, default: []].append(value) }
        }
        return samples.compactMapValues(Statistics.init)
    }
}
