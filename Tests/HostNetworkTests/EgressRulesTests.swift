import NIOCore
import SandboxModel
import Testing

@testable import HostNetwork

@Suite struct EgressRulesTests {
    private static func rules(
        _ mode: NetworkPolicy.Mode, allow: [String] = [], deny: [String] = []
    ) -> EgressRules {
        EgressRules(
            SandboxNetwork(
                policy: NetworkPolicy(
                    mode: mode, allow: allow.map { NetworkRule($0[...])! }, deny: deny.map { NetworkRule($0[...])! })))
    }

    private static func gate(_ rules: EgressRules, _ address: String, _ port: UInt16) -> EgressRules.Gate {
        rules.gate(Destination(address: IPv4(address), port: port)) { address, _ in
            SpecialAddresses.blocked.contains { $0.contains(address) }
        }
    }

    @Test func anAllowlistAllowsWhatItLists() {
        let rules = Self.rules(
            .allowlist, allow: ["a.test", "*.b.test:8443", "20.1.0.0/16:22"], deny: ["x.b.test", "20.1.2.0/24"])
        #expect(rules.refusal(of: "a.test", port: 443) == nil)
        #expect(rules.refusal(of: "a.test", port: 22) == .portNotAllowed)
        #expect(rules.refusal(of: "deep.y.b.test", port: 8443) == nil)
        #expect(rules.refusal(of: "x.b.test", port: 8443) == .hostNotAllowed)
        #expect(rules.refusal(of: "b.test", port: 8443) == .hostNotAllowed)
        #expect(rules.refusal(of: "nota.test", port: 443) == .hostNotAllowed)
        #expect(Self.gate(rules, "20.1.0.1", 22) == .open)
        #expect(Self.gate(rules, "20.1.0.1", 443) == .named)
        #expect(Self.gate(rules, "20.1.2.1", 22) == .refused(.addressDenied))
        #expect(Self.gate(rules, "10.0.0.1", 443) == .refused(.blockedAddress))
    }

    @Test func publicDeniesWhatItLists() {
        let rules = Self.rules(.public, deny: ["evil.test", "*.evil.test", "half.test:443", "20.9.0.0/16"])
        #expect(rules.refusal(of: "evil.test", port: 22) == .hostNotAllowed)
        #expect(rules.refusal(of: "a.evil.test", port: 443) == .hostNotAllowed)
        #expect(rules.refusal(of: "half.test", port: 443) == .hostNotAllowed)
        #expect(rules.refusal(of: "half.test", port: 80) == nil)
        #expect(!rules.mayLookUp("evil.test") && rules.mayLookUp("half.test") && rules.mayLookUp("other.test"))
        #expect(Self.gate(rules, "20.0.0.1", 443) == .named)
        #expect(Self.gate(rules, "20.9.0.1", 443) == .refused(.addressDenied))
    }

    @Test func publicWithoutHostRulesIsOpen() {
        #expect(Self.gate(Self.rules(.public), "20.0.0.1", 443) == .open)
        #expect(Self.gate(Self.rules(.none), "20.0.0.1", 443) == .refused(.networkOff))
    }

    @Test func aNameDeniedOnAllItsPortsIsNotLookedUp() {
        let rules = Self.rules(.allowlist, allow: ["a.test:80-90"], deny: ["a.test:70-85", "a.test:86-100"])
        #expect(!rules.mayLookUp("a.test"))
        #expect(Self.rules(.allowlist, allow: ["a.test:80-90"], deny: ["a.test:70-85"]).mayLookUp("a.test"))
    }
}

@Suite struct PinTableTests {
    private let start = NIODeadline.uptimeNanoseconds(1_000_000_000)

    @Test func aPinHoldsUntilItsTimeOrAsLongAsItIsUsed() {
        var pins = PinTable()
        let address = IPv4("20.0.0.1")
        let isPinned = pins.pin("a.test", to: address, until: start + .seconds(10), now: start)
        #expect(isPinned)
        #expect(pins.isPinned("a.test", to: address, now: start))
        pins.retain("a.test", address)
        #expect(pins.isPinned("a.test", to: address, now: start + .hours(1)))
        pins.release("a.test", address)
        #expect(!pins.isPinned("a.test", to: address, now: start + .hours(1)))
        #expect(pins.names(of: address, now: start + .hours(1)).isEmpty)
    }

    @Test func pinsAreBoundedAndThoseInUseStay() {
        var pins = PinTable(capacity: 100)
        let used = IPv4("20.0.0.1")
        _ = pins.pin("used.test", to: used, until: start + .seconds(1), now: start)
        pins.retain("used.test", used)
        for number in 0..<1000 {
            let isPinned = pins.pin(
                "n\(number).test", to: IPv4(bits: UInt32(number)), until: start + .seconds(100 + Int64(number)),
                now: start)
            #expect(isPinned)
        }
        #expect(pins.count <= 100)
        #expect(pins.isPinned("used.test", to: used, now: start))
        #expect(pins.isPinned("n999.test", to: IPv4(bits: 999), now: start))
    }

    @Test func aTableInUseTakesNoMore() {
        var pins = PinTable(capacity: 2)
        for name in ["a", "b"] {
            _ = pins.pin(name, to: IPv4("20.0.0.1"), until: start, now: start)
            pins.retain(name, IPv4("20.0.0.1"))
        }
        let isPinned = pins.pin("c", to: IPv4("20.0.0.1"), until: start + .hours(1), now: start)
        #expect(!isPinned)
    }

    @Test func bucketsFillWithTime() {
        var bucket = TokenBucket(perSecond: 2, burst: 3, now: start)
        let first = (0..<5).map { _ in bucket.take(now: start) }
        let second = (0..<5).map { _ in bucket.take(now: start + .seconds(1)) }
        #expect(first == [true, true, true, false, false] && second == [true, true, false, false, false])
    }
}
