import ArgumentParser
import HostNetwork
import SandboxModel
import Testing

@testable import MartletCommands

@Suite struct NetworkSettingsTests {
    private func settings(
        _ arguments: [String] = [], _ environment: [String: String] = [:]
    ) throws -> NetworkSettings {
        try ServeSettings(try ServeCommand.parse(arguments), environment: environment).network
    }

    @Test func withoutSettingsSandboxesHaveNetworksThatLeadNowhere() throws {
        let standard = try settings()
        #expect(standard.isEnabled && standard.translates && standard.defaultMode == .none)
        #expect(standard.subnet == nil && standard.opened.isEmpty && standard.nameServers.isEmpty)
        #expect(standard.pooledSlots == 16 && standard.trustRoots == nil && standard.secretVariables.isEmpty)
    }

    @Test func optionsGoBeforeTheEnvironment() throws {
        let environment = [
            "MARTLET_NETWORK_SUBNET": "10.99.0.0/16", "MARTLET_NETWORK_OPEN": "10.0.0.0/8:80,443 192.168.1.1",
            "MARTLET_NETWORK_DNS": "192.0.2.1 192.0.2.2", "MARTLET_NETWORK_DEFAULT": "public",
            "MARTLET_NETWORK_ROUTED": "1", "MARTLET_NETWORK_POOL": "0", "MARTLET_NETWORK_TRUST_ROOTS": "/ca.pem",
            "MARTLET_SECRET_A": "a", "MARTLET_SECRETS": "no", "PATH": "/bin",
        ]
        let given = try settings([], environment)
        #expect(given.subnet == IPv4Prefix("10.99.0.0/16"))
        #expect(given.opened.map(\.description) == ["10.0.0.0/8:80,443", "192.168.1.1"])
        #expect(given.nameServers == [IPv4Address(192, 0, 2, 1), IPv4Address(192, 0, 2, 2)])
        #expect(given.defaultMode == .public && !given.translates && given.pooledSlots == 0)
        #expect(given.trustRoots == "/ca.pem" && given.secretVariables == ["MARTLET_SECRET_A": "a"])
        let both = try settings(
            [
                "--network-subnet", "10.98.0.0/16", "--network-open", "172.16.0.0/12", "--network-dns", "192.0.2.9",
                "--network-default", "none", "--network-pool", "64", "--network-trust-roots", "/other.pem",
            ], environment)
        #expect(both.opened.map(\.description) == ["172.16.0.0/12"] && both.nameServers == [IPv4Address(192, 0, 2, 9)])
        #expect(both.defaultMode == .none && both.pooledSlots == 64)
        let opened = both.configuration(directory: "/d")
        #expect(opened.directory == "/d" && opened.subnet == IPv4Prefix("10.98.0.0/16") && !opened.translates)
        #expect(opened.opened == both.opened && opened.nameServers == both.nameServers && opened.pooledSlots == 64)
        #expect(opened.extraTrustRoots == "/other.pem")
        #expect(try !settings(["--no-network"]).isEnabled)
        #expect(try !settings([], ["MARTLET_NO_NETWORK": "true"]).isEnabled)
    }

    @Test(arguments: [
        (["--network-subnet", "10.0.0.0/8"], "network-subnet"),
        (["--network-open", "intranet.example"], "network-open"),
        (["--network-default", "allowlist"], "network-default"), (["--network-pool", "4097"], "network-pool"),
        (["--network-pool=-1"], "network-pool"),
        (["--no-network", "--network-default", "public"], "network-default"),
    ])
    func whatCannotBeIsRefusedByName(arguments: [String], name: String) {
        let error = #expect(throws: MartletError.self) { try settings(arguments) }
        #expect(error?.code == .invalidArgument && error?.details["field"] == name)
    }

    @Test(arguments: [
        ("MARTLET_NETWORK_SUBNET", "ten"), ("MARTLET_NETWORK_OPEN", "10.0.0.0/8 nonsense/"),
        ("MARTLET_NETWORK_DNS", "::1"), ("MARTLET_NETWORK_DEFAULT", "all"), ("MARTLET_NETWORK_POOL", "many"),
    ])
    func soIsWhatCannotBeInTheEnvironment(variable: String, value: String) {
        let error = #expect(throws: MartletError.self) { try settings([], [variable: value]) }
        #expect(error?.code == .invalidArgument && error?.details["field"] == variable)
    }
}
