import CoreMetrics
import Synchronization

/// A number that only grows.
final class CounterSeries: CounterHandler, PrometheusSeries {
    private let value = Atomic<Int64>(0)

    func increment(by amount: Int64) { value.wrappingAdd(max(0, amount), ordering: .relaxed) }
    func reset() { value.store(0, ordering: .relaxed) }

    func write(_ name: String, _ labels: String, to text: inout String) {
        text += PrometheusText.line(name, labels, "\(value.load(ordering: .relaxed))")
    }
}
