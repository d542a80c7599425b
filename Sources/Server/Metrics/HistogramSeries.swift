import CoreMetrics
import Synchronization

/// How often values fell below each of a row of bounds. Times are in seconds.
final class HistogramSeries: TimerHandler, RecorderHandler, PrometheusSeries {
    static let bounds = [
        0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.06, 0.1, 0.13, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
    ]

    private struct State {
        var counts = [UInt64](repeating: 0, count: HistogramSeries.bounds.count)
        var count: UInt64 = 0
        var sum = 0.0
    }

    private let state = Mutex(State())

    func recordNanoseconds(_ duration: Int64) { record(Double(duration) / 1e9) }
    func record(_ value: Int64) { record(Double(value)) }

    func record(_ value: Double) {
        let bucket = HistogramSeries.bounds.firstIndex { value <= $0 }
        state.withLock { state in
            if let bucket { state.counts[bucket] += 1 }
            state.count += 1
            state.sum += value
        }
    }

    func write(_ name: String, _ labels: String, to text: inout String) {
        let state = state.withLock { $0 }
        let prefix = labels.isEmpty ? "" : labels + ","
        var below: UInt64 = 0
        for (bound, count) in zip(HistogramSeries.bounds, state.counts) {
            below += count
            text += PrometheusText.line("\(name)_bucket", "\(prefix)le=\"\(PrometheusText.number(bound))\"", "\(below)")
        }
        text += PrometheusText.line("\(name)_bucket", "\(prefix)le=\"+Inf\"", "\(state.count)")
        text += PrometheusText.line("\(name)_sum", labels, PrometheusText.number(state.sum))
        text += PrometheusText.line("\(name)_count", labels, "\(state.count)")
    }
}
