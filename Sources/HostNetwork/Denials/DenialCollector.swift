import CLinux
import SandboxModel
import Synchronization

/// Takes what one sandbox was refused and passes it on in bounds: the first of its kind at once, what is the same
/// within the next second as one with a count, and no more than so many a second.
final class DenialCollector: Sendable {
    /// The rule of the denial that stands for those there was no room for.
    static let more = "more"
    static let mostPerSecond = 50
    /// Kinds told apart at a time.
    static let mostKinds = 256
    private static let second: Int64 = 1_000_000_000

    fileprivate struct Kind: Hashable {
        var kind: NetworkDenial.Kind
        var rule: String
        var transport: String
        var name: String?
        var address: String?
        var port: UInt16?

        init(_ denial: NetworkDenial) {
            kind = denial.kind
            rule = denial.rule
            transport = denial.transport
            name = denial.name
            address = denial.address
            port = denial.port
        }
    }

    fileprivate struct Waiting {
        var latest: NetworkDenial
        /// Refused since the last that was passed on.
        var count: Int
        var until: Int64
    }

    fileprivate struct State {
        var receiver: @Sendable (NetworkDenial) -> Void = { _ in }
        var kinds: [Kind: Waiting] = [:]
        /// The second the bound is counted in.
        var secondEnds: Int64 = 0
        var passed = 0
        /// What the bound held back.
        var heldBack: NetworkDenial?
        var total: UInt64 = 0
        var isClosed = false
    }

    private let state = Mutex(State())
    /// Asked to have `flush` called after so many nanoseconds.
    private let schedule: @Sendable (_ nanoseconds: Int64, _ collector: DenialCollector) -> Void

    init(schedule: @escaping @Sendable (_ nanoseconds: Int64, _ collector: DenialCollector) -> Void) {
        self.schedule = schedule
    }

    /// Whom it tells from now on.
    func tell(_ receiver: @escaping @Sendable (NetworkDenial) -> Void) { state.withLock { $0.receiver = receiver } }

    /// Nobody is told any more.
    func close() {
        state.withLock { state in
            state.isClosed = true
            state.receiver = { _ in }
            state.kinds = [:]
        }
    }

    /// All that were added, however many were passed on.
    var total: UInt64 { state.withLock { $0.total } }

    func add(_ denial: NetworkDenial, now: Int64 = clinux_monotonic_ns()) {
        let (passed, receiver, isFirst) = state.withLock { state in
            guard !state.isClosed else { return ([NetworkDenial](), state.receiver, false) }
            state.total += UInt64(denial.count)
            let kind = Kind(denial)
            if let waiting = state.kinds[kind] {
                state.kinds[kind] = Waiting(latest: denial, count: waiting.count + denial.count, until: waiting.until)
                return ([], state.receiver, false)
            }
            // The timer runs as long as anything waits.
            let isFirst = state.kinds.isEmpty && state.heldBack == nil
            guard state.kinds.count < DenialCollector.mostKinds else {
                state.holdBack(denial)
                return ([], state.receiver, isFirst)
            }
            state.kinds[kind] = Waiting(latest: denial, count: 0, until: now + DenialCollector.second)
            return (state.pass(denial, now: now).map { [$0] } ?? [], state.receiver, isFirst)
        }
        for denial in passed { receiver(denial) }
        if isFirst { schedule(DenialCollector.second, self) }
    }

    /// Passes on what has waited for its second, and asks to be called again while more waits.
    func flush(now: Int64 = clinux_monotonic_ns()) {
        let (passed, receiver, isMore) = state.withLock {
            state -> ([NetworkDenial], @Sendable (NetworkDenial) -> Void, Bool) in
            guard !state.isClosed else { return ([], state.receiver, false) }
            var passed: [NetworkDenial] = []
            for (kind, waiting) in state.kinds where waiting.until <= now {
                if waiting.count == 0 {
                    state.kinds[kind] = nil
                    continue
                }
                var denial = waiting.latest
                denial.count = waiting.count
                state.kinds[kind] = Waiting(latest: denial, count: 0, until: now + DenialCollector.second)
                if let one = state.pass(denial, now: now) { passed.append(one) }
            }
            // At the end of a second there is room for the one that stands for the rest.
            if now >= state.secondEnds, let rest = state.heldBack {
                state.heldBack = nil
                state.startSecond(now)
                passed.append(rest)
            }
            return (passed, state.receiver, !state.kinds.isEmpty || state.heldBack != nil)
        }
        for denial in passed { receiver(denial) }
        if isMore { schedule(DenialCollector.second / 4, self) }
    }
}

extension DenialCollector.State {
    fileprivate mutating func startSecond(_ now: Int64) {
        secondEnds = now + 1_000_000_000
        passed = 1
    }

    /// The denial if there is room for it in this second.
    fileprivate mutating func pass(_ denial: NetworkDenial, now: Int64) -> NetworkDenial? {
        if now >= secondEnds {
            startSecond(now)
            return denial
        }
        guard passed < DenialCollector.mostPerSecond else {
            holdBack(denial)
            return nil
        }
        passed += 1
        return denial
    }

    fileprivate mutating func holdBack(_ denial: NetworkDenial) {
        let count = (heldBack?.count ?? 0) + denial.count
        heldBack = NetworkDenial(
            time: denial.time, kind: .packet, rule: DenialCollector.more, transport: "any", count: count)
    }
}
