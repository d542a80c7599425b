import NIOCore

/// So many a second on average, and a burst.
struct TokenBucket {
    private let rate: Int64
    private let burst: Int64
    /// In units of 1/10^9 of a token.
    private var level: Int64
    private var updated: NIODeadline

    init(perSecond rate: Int64, burst: Int64, now: NIODeadline) {
        self.rate = rate
        self.burst = burst
        level = burst * 1_000_000_000
        updated = now
    }

    /// Takes one; false when none is left.
    mutating func take(now: NIODeadline) -> Bool {
        let passed = min(max(0, (now - updated).nanoseconds), 60_000_000_000)
        updated = max(updated, now)
        level = min(burst * 1_000_000_000, level + passed * rate)
        guard level >= 1_000_000_000 else { return false }
        level -= 1_000_000_000
        return true
    }
}
