import ControlStore
import LinuxSystem
import Metrics
import SandboxModel
import Synchronization

/// Adds up what goes through all sandboxes' networks, for the host's metrics: a few numbers, however many sandboxes
/// there are.
final class Traffic: Sendable {
    /// The metrics may be read by anybody and as often as they like; the kernel is asked this often at most.
    private static let periodMilliseconds: Int64 = 5000

    private let index: SandboxIndex
    private let counters: @Sendable (SandboxID) async -> NetworkCounters?
    private let turns = Turns<SandboxID>()
    private let state = Mutex<(seen: [SandboxID: NetworkCounters], refreshedAt: Int64)>(([:], .min))

    /// - Parameter counters: what went through one sandbox's network; nil where it has none.
    init(index: SandboxIndex, counters: @escaping @Sendable (SandboxID) async -> NetworkCounters?) {
        self.index = index
        self.counters = counters
    }

    /// Takes note of where the networks of sandboxes stand that an earlier daemon has left: that is not counted again.
    func adopt() async {
        for record in index.all where record.state == .running && record.network.mode != .none {
            let counters = await counters(record.id)
            state.withLock { $0.seen[record.id] = counters }
        }
    }

    /// Brings the totals up to date.
    func refresh() async {
        let now = Clocks.monotonicNanoseconds / 1_000_000
        let isDue = state.withLock { state in
            guard state.refreshedAt == .min || now - state.refreshedAt >= Traffic.periodMilliseconds else {
                return false
            }
            state.refreshedAt = now
            return true
        }
        guard isDue else { return }
        for record in index.all where record.state == .running { await sample(record.id) }
        let live = Set(index.all.filter(\.state.isLive).map(\.id))
        state.withLock { state in state.seen = state.seen.filter { live.contains($0.key) } }
    }

    /// Takes in what a sandbox's network counted before it goes.
    func settle(_ id: SandboxID) async { await sample(id) }

    /// Says that a sandbox has another network now, or none, which counts from zero.
    func restart(_ id: SandboxID) { _ = state.withLock { $0.seen.removeValue(forKey: id) } }

    private func sample(_ id: SandboxID) async {
        let isKnown = state.withLock { $0.seen[id] != nil }
        // Where nothing may go out there is nothing to count.
        guard let record = index.record(id), isKnown || record.network.mode != .none else { return }
        try? await turns.take(id) {
            guard let now = await counters(id) else { return }
            let before = state.withLock { state in
                defer { state.seen[id] = now }
                return state.seen[id]
            }
            Traffic.count("martlet_network_sent_bytes_total", now.sentBytes, before?.sentBytes)
            Traffic.count("martlet_network_received_bytes_total", now.receivedBytes, before?.receivedBytes)
        }
    }

    private static func count(_ label: String, _ now: UInt64, _ before: UInt64?) {
        // A network that counts from zero again is another one.
        let news = before.map { now >= $0 ? now - $0 : now } ?? now
        Counter(label: label).increment(by: Int64(clamping: news))
    }
}
