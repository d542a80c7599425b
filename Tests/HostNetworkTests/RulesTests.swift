import Glibc
import LinuxSystem
import SandboxModel
import Testing

@testable import HostNetwork

/// The rules as text, as they are and as an operator reads them: `UPDATE_GOLDEN=1` writes them anew.
@Suite struct RulesTests {
    private static let facts = SlotRules.Facts(
        address: IPv4Address(10, 201, 0, 6), subnet: IPv4Prefix("10.201.0.0/16")!,
        blocked: [IPv4Prefix("10.0.0.0/8")!, IPv4Prefix("10.1.0.0/16")!, IPv4Prefix("5.5.5.1")!],
        opened: [NetworkRule("10.9.0.0/16:443")!])

    private static func network(
        _ mode: NetworkPolicy.Mode, allow: [String] = [], deny: [String] = [], secrets: [NetworkSecret] = [],
        connections: Int? = nil
    ) -> SandboxNetwork {
        SandboxNetwork(
            policy: NetworkPolicy(
                mode: mode, allow: allow.compactMap { NetworkRule($0) }, deny: deny.compactMap { NetworkRule($0) },
                maxConnections: connections), secrets: secrets)
    }

    private static let secret = NetworkSecret(
        name: "KEY", placeholder: "placeholder", value: "value", hosts: [HostPattern("api.example.com")!])

    private static let cases: [(name: String, network: SandboxNetwork)] = [
        ("none", network(.none)),
        ("public", network(.public)),
        ("public-denied-addresses", network(.public, deny: ["8.8.8.0/24", "8.8.8.8:53", "9.0.0.0/8:25,465"])),
        ("public-denied-hosts", network(.public, deny: ["*.example.com", "8.8.8.8"])),
        ("public-secrets", network(.public, secrets: [secret])),
        ("allowlist-empty", network(.allowlist)),
        (
            "allowlist-addresses",
            network(.allowlist, allow: ["1.1.1.1", "1.1.0.0/16:80-90,85-95,443", "1.1.1.1:8080", "2.0.0.0/8"])
        ),
        ("allowlist-hosts", network(.allowlist, allow: ["pypi.org", "*.pythonhosted.org:443", "1.1.1.1:22"])),
        ("allowlist-secrets", network(.allowlist, allow: ["0.0.0.0/0"], secrets: [secret], connections: 5)),
    ]

    @Test(arguments: cases.map(\.name)) func aPolicyIsWrittenLikeThis(name: String) throws {
        let network = try #require(RulesTests.cases.first { $0.name == name }).network
        let rules = PolicyRules(network, facts: RulesTests.facts)
        try expectGolden(rules.script(replacing: nil), "policy-\(name).nft")
        #expect(rules.needsNames == (network.policy.mode != .none))
        #expect(rules.needsProxy == ["hosts", "secrets"].contains { name.hasSuffix($0) })
    }

    @Test func theBaseOfASlotIsWrittenLikeThis() throws {
        try expectGolden(SlotRules.removal + SlotRules.definition(RulesTests.facts), "slot.nft")
    }

    @Test(arguments: [true, false]) func theRulesOfTheHostAreWrittenLikeThis(translates: Bool) throws {
        let script = HostRules.script(
            subnet: try SlotSubnet(RulesTests.facts.subnet), blocked: RulesTests.facts.blocked,
            opened: RulesTests.facts.opened, translates: translates)
        try expectGolden(script, translates ? "host.nft" : "host-routed.nft")
    }

    @Test(.enabled(if: NetworkLab.isPossible, NetworkLab.need)) func theKernelTakesEachOfThem() async throws {
        try await NetworkLab.with { lab in
            let network = try await lab.open()
            let slot = try await network.lease()
            let nftables = try Nftables.load()
            for (_, policy) in RulesTests.cases {
                let script =
                    SlotRules.removal + SlotRules.definition(RulesTests.facts)
                    + PolicyRules(policy, facts: RulesTests.facts).script(replacing: nil)
                try await lab.thread.run(.handOut) { try nftables.apply(script, in: slot.namespace) }
            }
        }
    }

    @Test func whatIsNotThereIsNotRemoved() {
        let (closed, open) = (
            PolicyRules(RulesTests.network(.none), facts: RulesTests.facts),
            PolicyRules(RulesTests.network(.public), facts: RulesTests.facts)
        )
        #expect(open.script(replacing: closed) == open.definition)
        #expect(closed.script(replacing: open) == PolicyRules.removal)
        #expect(closed.script(replacing: nil) == PolicyRules.removal + closed.limitScript)
        let bounded = PolicyRules(RulesTests.network(.public, connections: 7), facts: RulesTests.facts)
        #expect(bounded.script(replacing: closed) == bounded.definition + bounded.limitScript)
    }

    private func expectGolden(_ text: String, _ name: String) throws {
        let path = "\(#filePath)".replacing("RulesTests.swift", with: "Fixtures/\(name)")
        if getenv("UPDATE_GOLDEN") != nil {
            try AtomicFile.write(Array(text.utf8), to: path, mode: 0o644, durable: false)
        }
        #expect(text == String(decoding: try AtomicFile.read(path), as: UTF8.self))
    }
}
