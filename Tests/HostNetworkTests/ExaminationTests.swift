import Glibc
import LinuxSystem
import SandboxModel
import Testing

@testable import HostNetwork

@Suite(.enabled(if: NetworkLab.isPossible, NetworkLab.need), .timeLimit(.minutes(2)))
struct ExaminationTests {
    @Test func everythingIsFoundWhereSlotsWork() async throws {
        try await NetworkLab.with { lab in
            let before = (try await lab.links(), try await lab.tables())
            let findings = await HostNetworkExamination(lab.configuration).findings()
            for finding in findings { #expect(finding.isThere && finding.fix == nil, "\(finding)") }
            #expect(findings.contains { $0.name == "network: nftables" } && findings.count >= 9)
            // It was only a look.
            #expect(try await lab.links() == before.0)
            #expect(try await lab.tables() == before.1)
            let forwarding = try await lab.thread.run(in: lab.host, .handOut) {
                NetworkNamespace.parameter("ipv4/ip_forward")
            }
            #expect(forwarding == "0")
        }
    }

    @Test func whatIsInTheWayIsNamed() async throws {
        try await NetworkLab.with { lab in
            _ = try await lab.nft(
                "table ip filter { chain FORWARD { type filter hook forward priority 0; policy drop; }; }")
            var configuration = lab.configuration
            configuration.subnet = IPv4Prefix("5.5.0.0/16")
            let findings = await HostNetworkExamination(configuration).findings()
            let firewall = try #require(findings.first { $0.name == "network: other firewalls" })
            #expect(!firewall.isThere && !firewall.isRequired && firewall.detail.contains("ip filter"))
            #expect(firewall.fix?.contains("mt+") == true)
            let subnet = try #require(findings.first { $0.name == "network: subnet" })
            #expect(!subnet.isThere && subnet.detail.contains("wan0") && subnet.fix != nil)
        }
    }

    @Test func ourOwnRulesAreNotInTheWay() async throws {
        try await NetworkLab.with { lab in
            let network = try await lab.open()
            let findings = await HostNetworkExamination(lab.configuration).findings()
            #expect(findings.first { $0.name == "network: other firewalls" }?.isThere == true)
            #expect(await network.report().capacity > 0)
        }
    }
}
