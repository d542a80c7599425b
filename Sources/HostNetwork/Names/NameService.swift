import NIOCore
import SandboxModel

/// Answers the guest's lookups as its policy says, and pins what it answered.
///
/// A name that is not allowed is NXDOMAIN, which every resolver library takes as final: REFUSED makes some ask again and
/// musl wait for its time-out. For whoever looks closer the reason is there as an extended error.
final class NameService {
    /// Lookups a second, and those that go out to a name server: names that carry data out are many and all new.
    static let lookupRate: Int64 = 200
    static let lookupBurst: Int64 = 1000
    static let outboundRate: Int64 = 50
    static let outboundBurst: Int64 = 300
    /// Shortest and longest time an answer tells the guest to keep it.
    static let seconds: ClosedRange<UInt32> = 5...300
    /// How much longer than told an address stays pinned, for programs that keep it a little longer.
    static let grace = TimeAmount.minutes(10)

    private let core: ProxyCore
    private var lookups: TokenBucket
    private var outbound: TokenBucket

    init(core: ProxyCore) {
        self.core = core
        lookups = TokenBucket(perSecond: NameService.lookupRate, burst: NameService.lookupBurst, now: .now())
        outbound = TokenBucket(perSecond: NameService.outboundRate, burst: NameService.outboundBurst, now: .now())
    }

    /// Answers a message; `reply` is called once, at once or later, or never if there is nothing to say.
    func handle(_ bytes: [UInt8], transport: String, limit: Int, reply: @escaping ([UInt8]) -> Void) {
        guard core.rules.policy.mode != .none, !core.jobs.isStopped else { return }
        let query: DNSQuery
        switch DNSQuery.parse(bytes) {
        case .ignored: return
        case .refused(let answer): return reply(answer)
        case .query(let parsed): query = parsed
        }
        func deny(_ rule: RefusalRule, address: IPv4Address? = nil) {
            core.deny(.lookup, rule, transport: transport, name: query.name, address: address, port: nil)
        }
        guard lookups.take(now: .now()) else {
            deny(.lookupRate)
            return reply(query.answer(.serverFailure, reason: .prohibited, text: RefusalRule.lookupRate.rawValue))
        }
        guard query.recordClass == 1 else { return reply(query.answer(.refused)) }
        guard let name = HostPattern.normalized(query.name), core.rules.mayLookUp(name) else {
            deny(.lookupNotAllowed)
            return reply(query.answer(.noSuchName, reason: .blocked, text: RefusalRule.lookupNotAllowed.rawValue))
        }
        switch query.type {
        case DNSType.a: resolve(query, name, limit: limit, deny: deny, reply: reply)
        // There is no IPv6, and no hint of what else a server could do: an address is all there is.
        case DNSType.aaaa, DNSType.https, DNSType.svcb: reply(query.answer(.noError))
        default: passOn(query, name, limit: limit, deny: deny, reply: reply)
        }
    }

    /// Types that carry text both ways are what tunnels are made of, so where names decide there are none; the name
    /// exists, so it is not NXDOMAIN. Elsewhere they are passed on as they are.
    private func passOn(
        _ query: DNSQuery, _ name: String, limit: Int, deny: @escaping (RefusalRule, IPv4Address?) -> Void,
        reply: @escaping ([UInt8]) -> Void
    ) {
        // All there is of a name, or a whole zone.
        let isTooMuch = (251...255).contains(query.type)
        guard !core.rules.namesDecide, !isTooMuch else {
            if core.rules.namesDecide { deny(.lookupType, nil) }
            return reply(query.answer(.noError, reason: .blocked, text: RefusalRule.lookupType.rawValue))
        }
        guard outbound.take(now: .now()) else {
            deny(.lookupRate, nil)
            return reply(query.answer(.serverFailure, reason: .prohibited, text: RefusalRule.lookupRate.rawValue))
        }
        core.resolver.records(of: name, type: query.type).assumeIsolated().whenSuccess { records in
            reply(
                records.map { query.answer($0, limit: limit) }
                    ?? query.answer(.serverFailure, reason: .unreachable, text: "no name server answered"))
        }
    }

    private func resolve(
        _ query: DNSQuery, _ name: String, limit: Int, deny: @escaping (RefusalRule, IPv4Address?) -> Void,
        reply: @escaping ([UInt8]) -> Void
    ) {
        lookUp(name) { outcome in
            switch outcome {
            case .tooMany:
                deny(.lookupRate, nil)
                reply(query.answer(.serverFailure, reason: .prohibited, text: RefusalRule.lookupRate.rawValue))
            case .answer(let answer):
                for address in answer.blocked { deny(.rebinding, address) }
                if answer.code == .serverFailure {
                    return reply(query.answer(.serverFailure, reason: .unreachable, text: "no name server answered"))
                }
                let isFiltered = answer.addresses.isEmpty && !answer.blocked.isEmpty
                reply(
                    query.answer(
                        answer.code, addresses: answer.addresses.map(\.bits), seconds: answer.seconds,
                        reason: isFiltered ? .filtered : nil, text: RefusalRule.rebinding.rawValue, limit: limit))
            }
        }
    }

    /// What became of a lookup.
    enum Outcome {
        case answer(Found)
        case tooMany
    }

    /// The addresses of a name, all pinned to it, and those withheld.
    struct Found {
        var code: DNSCode
        var addresses: [IPv4Address]
        var blocked: [IPv4Address]
        var seconds: UInt32
    }

    /// Looks a name up, for the guest or on behalf of it, and pins what is found.
    ///
    /// Preconditions: `name` is normalized.
    func lookUp(_ name: String, then done: @escaping (Outcome) -> Void) {
        guard core.resolver.knows(name) || outbound.take(now: .now()) else { return done(.tooMany) }
        core.resolver.resolve(name).assumeIsolated().whenSuccess { answer in
            // The policy may have changed while the answer was on its way.
            guard self.core.rules.mayLookUp(name) else {
                return done(.answer(Found(code: .noSuchName, addresses: [], blocked: [], seconds: 0)))
            }
            let now = NIODeadline.now()
            let seconds = min(max(answer.seconds, NameService.seconds.lowerBound), NameService.seconds.upperBound)
            let expires = now + .seconds(Int64(seconds)) + NameService.grace
            var found = Found(code: answer.code, addresses: [], blocked: [], seconds: seconds)
            for address in answer.addresses {
                if self.core.environment.isBlocked(address, nil) {
                    found.blocked.append(address)
                } else if self.core.pins.pin(name, to: address, until: expires, now: now) {
                    found.addresses.append(address)
                }
            }
            done(.answer(found))
        }
    }
}
