import SandboxModel
import Testing

@testable import HostNetwork

@Suite struct AddressSetsTests {
    private func prefix(_ text: String) throws -> IPv4Prefix { try #require(IPv4Prefix(text)) }

    @Test func prefixesInOthersAreLeftOut() throws {
        let prefixes = try ["10.1.0.0/16", "10.0.0.0/8", "10.1.2.3", "11.0.0.0/8", "10.0.0.0/9"].map { try prefix($0) }
        #expect(AddressSets.disjoint(prefixes).map(\.description) == ["10.0.0.0/8", "11.0.0.0/8"])
    }

    @Test func portsThatTouchAreOneRange() {
        let ranges = [PortRange(90, 100), PortRange(1, 5), PortRange(6, 6), PortRange(95, 120), PortRange(200, 65_535)]
        #expect(AddressSets.merged(ranges) == [PortRange(1, 6), PortRange(90, 120), PortRange(200, 65_535)])
        #expect(AddressSets.merged([PortRange(1, 65_535), PortRange(7, 9)]) == [PortRange(1, 65_535)])
    }

    @Test func rulesThatNestInAnyWayStayAsManyElements() throws {
        var rules: [NetworkRule] = []
        for length in 1...32 {
            rules.append(
                NetworkRule(
                    .addresses(IPv4Prefix(IPv4Address(9, 9, 9, 9), length: length)), ports: [PortRange(443, 443)]))
        }
        let sets = AddressSets("x", rules: rules)
        #expect(sets.declarations.count == 32 && sets.rules("accept").count == 32)
        #expect(sets.declarations.allSatisfy { $0.components(of: " . 443") == 1 })
    }

    @Test func everythingNeedsNoSet() throws {
        let sets = AddressSets("x", rules: [try #require(NetworkRule("0.0.0.0/0"))])
        #expect(sets.declarations.isEmpty && sets.rules("accept") == ["accept"])
        #expect(AddressSets("x", rules: []).rules("accept").isEmpty)
    }
}

extension String {
    fileprivate func components(of part: String) -> Int { ranges(of: part).count }
}
