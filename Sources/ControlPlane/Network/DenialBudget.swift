import SandboxModel

/// How many denials of how many sandboxes become events of their own: a hostile guest can be refused as often as it
/// likes. What is beyond that is counted, by rule, and told together later.
///
/// Tokens in a bucket, one for each sandbox and one for all of them.
struct DenialBudget {
    /// Events at once.
    static let burst = 64.0
    /// Events a second in the long run.
    static let perSecond = 1.0
    static let totalBurst = 1024.0
    static let totalPerSecond = 64.0

    private struct Bucket {
        var tokens: Double
        /// Milliseconds of a clock that only goes forward.
        var at: Int64

        mutating func fill(_ perSecond: Double, _ burst: Double, now: Int64) {
            tokens = min(burst, tokens + Double(max(0, now - at)) / 1000 * perSecond)
            at = max(at, now)
        }
    }

    private struct Account {
        var bucket: Bucket
        /// What could not be told yet, by rule.
        var waiting: [String: NetworkDenial] = [:]
    }

    private var accounts: [SandboxID: Account] = [:]
    private var total: Bucket?

    /// Takes a denial in; true if it is to be told now, else it is told together with others when its time has come.
    ///
    /// - Parameter rule: a word out of a fixed list.
    mutating func admit(_ denial: NetworkDenial, rule: String, of id: SandboxID, now: Int64) -> Bool {
        if spend(id, now) { return true }
        var merged = accounts[id]?.waiting[rule] ?? denial
        if accounts[id]?.waiting[rule] != nil {
            let (sum, isTooMuch) = merged.count.addingReportingOverflow(denial.count)
            merged.count = isTooMuch ? .max : sum
        }
        merged.name = nil
        merged.address = nil
        merged.port = nil
        accounts[id]?.waiting[rule] = merged
        return false
    }

    /// What may be told now of what had to wait.
    mutating func due(now: Int64) -> [(id: SandboxID, denial: NetworkDenial)] {
        var due: [(id: SandboxID, denial: NetworkDenial)] = []
        for (id, account) in accounts {
            for rule in account.waiting.keys.sorted() where spend(id, now) {
                if let denial = accounts[id]?.waiting.removeValue(forKey: rule) { due.append((id, denial)) }
            }
            accounts[id]?.bucket.fill(DenialBudget.perSecond, DenialBudget.burst, now: now)
            // One that has all its tokens and nothing to tell is like one that is not there.
            if let account = accounts[id], account.waiting.isEmpty, account.bucket.tokens >= DenialBudget.burst {
                accounts[id] = nil
            }
        }
        return due
    }

    /// Whether there is a sandbox that is not as if it had never been refused anything.
    var isIdle: Bool { accounts.isEmpty }

    /// Forgets a sandbox that is gone.
    mutating func forget(_ id: SandboxID) { accounts[id] = nil }

    private mutating func spend(_ id: SandboxID, _ now: Int64) -> Bool {
        var all = total ?? Bucket(tokens: DenialBudget.totalBurst, at: now)
        all.fill(DenialBudget.totalPerSecond, DenialBudget.totalBurst, now: now)
        var own = accounts[id] ?? Account(bucket: Bucket(tokens: DenialBudget.burst, at: now))
        own.bucket.fill(DenialBudget.perSecond, DenialBudget.burst, now: now)
        let isAffordable = all.tokens >= 1 && own.bucket.tokens >= 1
        if isAffordable {
            all.tokens -= 1
            own.bucket.tokens -= 1
        }
        total = all
        accounts[id] = own
        return isAffordable
    }
}
