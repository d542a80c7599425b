import SandboxModel
import Testing

@Suite struct PolicyModelTests {
    @Test(arguments: [
        "api.example.com", "*.example.com:443", "203.0.113.0/24:8000-8100,9000", "203.0.113.7", "0.0.0.0/0",
    ])
    func aRuleReadsAsItIsWritten(text: String) throws {
        #expect(try #require(NetworkRule(text)).description == text)
    }

    @Test(arguments: [
        "", ":80", "example.com:", "example.com:0", "example.com:70000", "1.2.3.4/33", "1.2.3.4/24", "01.2.3.4", "*.",
        "*", "a..b", "-a.b", "a-.b", "ex ample.com", "::1", "[::1]:80", "1.2.3", "example.com:80:81", "x.1",
    ])
    func whatIsNoRuleIsRefused(text: String) {
        #expect(NetworkRule(text) == nil)
    }

    @Test func aWildcardStandsForNamesBelowOnly() throws {
        let pattern = try #require(HostPattern("*.Example.com."))
        #expect(pattern.matches("a.example.com") && pattern.matches("a.b.example.com"))
        #expect(!pattern.matches("example.com") && !pattern.matches("badexample.com"))
    }

    @Test func prefixesKnowWhatTheyHold() throws {
        let prefix = try #require(IPv4Prefix("10.201.0.0/16"))
        #expect(prefix.contains(IPv4Address(10, 201, 255, 255)) && !prefix.contains(IPv4Address(10, 202, 0, 0)))
        #expect(prefix.last == IPv4Address(10, 201, 255, 255))
        #expect(SpecialAddresses.blocked.contains { $0.contains(IPv4Address(169, 254, 169, 254)) })
    }
}
