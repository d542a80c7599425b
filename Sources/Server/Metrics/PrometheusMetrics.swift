import CoreMetrics
import Synchronization

/// Keeps what the program counts and writes it as Prometheus reads it. Bootstrap it once, in the main.
///
/// Counters, gauges and histograms of any label are made on first use and live for ever, so labels must have few
/// values; past `maxSeries` new ones are not kept.
package final class PrometheusMetrics: MetricsFactory {
    static let maxSeries = 5000

    private struct Family {
        var kind: SeriesKind
        var series: [String: any PrometheusSeries]
    }

    private struct State {
        var families: [String: Family] = [:]
        var count = 0
    }

    private let state = Mutex(State())

    package init() {}

    /// Everything counted so far, in Prometheus's text format.
    package func exposition() -> String {
        let families = state.withLock { $0.families.mapValues { ($0.kind, $0.series) } }
        var text = ""
        for (name, (kind, series)) in families.sorted(by: { $0.key < $1.key }) {
            text += "# TYPE \(name) \(kind.rawValue)\n"
            for (labels, one) in series.sorted(by: { $0.key < $1.key }) { one.write(name, labels, to: &text) }
        }
        return text
    }

    private func series<Series: PrometheusSeries>(
        _ label: String, _ dimensions: [(String, String)], _ kind: SeriesKind, make: () -> Series
    ) -> Series {
        let name = PrometheusText.name(label)
        let labels = PrometheusText.labels(dimensions)
        return state.withLock { state in
            if let found = state.families[name]?.series[labels] as? Series { return found }
            let made = make()
            let isFree = state.families[name]?.series[labels] == nil && state.families[name]?.kind ?? kind == kind
            guard isFree, state.count < PrometheusMetrics.maxSeries else { return made }
            state.count += 1
            state.families[name, default: Family(kind: kind, series: [:])].series[labels] = made
            return made
        }
    }

    // MARK: MetricsFactory

    package func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
        series(label, dimensions, .counter) { CounterSeries() }
    }

    package func makeMeter(label: String, dimensions: [(String, String)]) -> any MeterHandler {
        series(label, dimensions, .gauge) { GaugeSeries() }
    }

    package func makeRecorder(label: String, dimensions: [(String, String)], aggregate: Bool) -> any RecorderHandler {
        aggregate
            ? series(label, dimensions, .histogram) { HistogramSeries() } as any RecorderHandler
            : series(label, dimensions, .gauge) { GaugeSeries() }
    }

    package func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
        series(label, dimensions, .histogram) { HistogramSeries() }
    }

    // A series outlives the objects that count into it.
    package func destroyCounter(_ handler: any CounterHandler) {}
    package func destroyMeter(_ handler: any MeterHandler) {}
    package func destroyRecorder(_ handler: any RecorderHandler) {}
    package func destroyTimer(_ handler: any TimerHandler) {}
}

/// What a family of series is, by Prometheus's words.
enum SeriesKind: String {
    case counter, gauge, histogram
}

/// One line, or a few that belong together.
protocol PrometheusSeries: AnyObject, Sendable {
    func write(_ name: String, _ labels: String, to text: inout String)
}
