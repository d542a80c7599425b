import ArgumentParser
import Glibc
import MartletAPI
import SandboxModel
import Testing

@testable import MartletCommands

@Suite struct NetworkCommandTests {
    private func create(_ arguments: String...) throws -> CreateSandboxRequest {
        try create(arguments)
    }

    private func create(_ arguments: [String]) throws -> CreateSandboxRequest {
        let command = try #require(try MartletCommand.parseAsRoot(["create"] + arguments) as? CreateCommand)
        return try command.sandboxOptions.request(timeout: nil)
    }

    @Test func optionsMakeAPolicy() throws {
        #expect(try create().network == nil)
        #expect(try create("--network", "public").network == NetworkPolicy(mode: .public))
        let listed = try create(
            "--allow", "pypi.org", "--allow", "*.example.com:443,8000-8100", "--deny", "10.0.0.0/8", "--dns",
            "192.0.2.1",
            "--rate-mbps", "50", "--max-connections", "9"
        ).network
        #expect(listed?.mode == .allowlist)
        #expect(listed?.allow.map(\.description) == ["pypi.org", "*.example.com:443,8000-8100"])
        #expect(listed?.deny.map(\.description) == ["10.0.0.0/8"])
        #expect(listed?.dns == .init(servers: [IPv4Address(192, 0, 2, 1)]))
        #expect(listed?.rateMbps == 50 && listed?.maxConnections == 9)
        #expect(try create("--deny", "evil.example").network?.mode == .public)
        let fork = try MartletCommand.parseAsRoot(["fork", "box", "--network", "none", "--inherit-secrets"])
        let request = try #require(fork as? ForkCommand).request()
        #expect(request.network == .closed && request.inheritSecrets == true)
        #expect(try create("--network", "none").secrets == nil)
    }

    @Test(arguments: [
        ["--network", "all"], ["--allow", "::1"], ["--allow", "a b"], ["--deny", ""], ["--dns", "example.com"],
        ["--rate-mbps", "fast"], ["--rate-mbps", "5"], ["--network", "public", "--allow", "example.com"],
        ["--network", "none", "--deny", "example.com"], ["--network", "public", "--rate-mbps", "0"],
        ["--network", "public", "--policy", "file"], ["--policy", "/nonexistent"],
    ])
    func whatMakesNoPolicyIsRefused(arguments: [String]) {
        #expect(throws: (any Error).self) { try create(arguments) }
    }

    @Test func aPolicyCanBeAFileAndNoWordInItIsPassedOver() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/policy.json"
        func read(_ text: String) throws -> NetworkPolicy {
            let file = try #require(fopen(path, "w"))
            fputs(text, file)
            fclose(file)
            return try PolicyFile.read(path)
        }
        let policy = try read(#"{"mode":"allowlist","allow":["example.com:443"],"max_connections":3}"#)
        #expect(policy.allow.map(\.description) == ["example.com:443"] && policy.maxConnections == 3)
        for (text, word) in [
            (#"{"mode":"public","denny":["example.com"]}"#, "denny"), (#"{"mode":"open"}"#, "mode"),
            (#"{"mode":"allowlist","allow":["example.com","::1"]}"#, "allow[1]"),
            (#"{"mode":"public","allow":["example.com"]}"#, "allow"), ("nonsense", "JSON"), ("[]", "JSON"),
        ] {
            let error = #expect(throws: MartletError.self) { try read(text) }
            #expect(error?.message.contains(word) == true, "\(error?.message ?? "")")
        }
    }

    @Test func secretsComeFromAnywhereButTheCommandLine() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/p@ss"
        let file = try #require(fopen(path, "w"))
        fputs("from-file\r\n", file)
        fclose(file)
        let parsed = try MartletCommand.parseAsRoot([
            "create", "--secret", "KEY@api.example.com", "--secret", "B=env:OTHER@*.example.org,example.net",
            "--secret",
            "C=file:\(path)@c.example", "--secret", "D=daemon:MARTLET_SECRET_D@d.example", "--secret-header",
            "B=Authorization: Bearer {value}", "--secret-header", "C=X-Key",
        ])
        let options = try #require(parsed as? CreateCommand).sandboxOptions.secrets
        let secrets = try #require(try options.secrets(from: ["KEY": "one", "OTHER": "two"]))
        #expect(secrets.map(\.name) == ["KEY", "B", "C", "D"])
        #expect(secrets.map(\.valueFrom.value) == ["one", "two", "from-file", nil])
        #expect(secrets[3].valueFrom.env == "MARTLET_SECRET_D")
        #expect(secrets[1].hosts.map(\.description) == ["*.example.org", "example.net"])
        #expect(secrets[1].header == "Authorization" && secrets[1].format == "Bearer {value}")
        #expect(secrets[2].header == "X-Key" && secrets[2].format == nil)
        #expect(secrets[0].header == nil)
        #expect(!options.takesStandardInput)
        let error = #expect(throws: MartletError.self) { try options.secrets(from: ["KEY": "one"]) }
        #expect(error?.message.contains("OTHER") == true)
    }

    @Test(arguments: [
        ["--secret", "KEY"], ["--secret", "KEY=hunter2@example.com"], ["--secret", "KEY=env:@example.com"],
        ["--secret", "KEY=env:A@"], ["--secret", "KEY=env:A@10.0.0.1"], ["--secret", "=env:A@example.com"],
        ["--secret", "@example.com"], ["--secret", "A=-@a.example", "--secret", "B=-@b.example"],
        ["--secret-header", "KEY=X-Key"], ["--secret", "K=-@a.example", "--secret-header", "K="],
        ["--secret", "K=-@a.example", "--secret-header", "K=X:"],
        ["--secret", "K=-@a.example", "--secret-header", "K=X", "--secret-header", "K=Y"],
    ])
    func whatIsNoSecretIsRefused(arguments: [String]) {
        #expect(throws: (any Error).self) { try MartletCommand.parseAsRoot(["create"] + arguments) }
    }

    @Test func aProgramsStandardInputIsItsOwn() throws {
        #expect(throws: (any Error).self) {
            try MartletCommand.parseAsRoot(["run", "--secret", "K=-@a.example", "--", "true"])
        }
        #expect(throws: (any Error).self) { try MartletCommand.parseAsRoot(["run", "--policy", "-", "--", "true"]) }
        let created = try MartletCommand.parseAsRoot(["create", "--secret", "K=-@a.example"]) as? CreateCommand
        #expect(created?.sandboxOptions.secrets.takesStandardInput == true)
    }

    @Test func networkAndLogsTakeWhatTheySay() throws {
        let set = try MartletCommand.parseAsRoot(["network", "set", "box", "--allow", "example.com"])
        #expect(try (set as? NetworkSetCommand)?.network.networkPolicy()?.mode == .allowlist)
        #expect(try (MartletCommand.parseAsRoot(["network", "show", "box"]) as? NetworkShowCommand)?.sandbox == "box")
        let logs = try MartletCommand.parseAsRoot(["logs", "--network", "-f", "-o", "json", "box"]) as? LogsCommand
        #expect(logs?.network == true && logs?.follow == true && logs?.format == .json)
        #expect(throws: (any Error).self) { try MartletCommand.parseAsRoot(["logs", "-o", "json", "box"]) }
    }

    @Test func aNetworkIsToldInFull() throws {
        let policy = NetworkPolicy(
            mode: .allowlist, allow: try ["a.example", "b.example:443"].map { try #require(NetworkRule($0)) },
            rateMbps: 5)
        let network = NetworkResource(
            policy: policy,
            secrets: [
                .init(
                    name: "KEY", hosts: [try #require(HostPattern("a.example"))], header: "X-Key\u{1B}",
                    placeholder: "martlet-secret-key-0")
            ], address: IPv4Address(10, 201, 0, 2),
            counters: NetworkCounters(sentBytes: 2048, receivedBytes: 3, sentPackets: 2, receivedPackets: 1, denied: 7))
        #expect(
            NetworkText.all(network) == """
                network:     allowlist
                allowed:     a.example, b.example:443
                rate:        5 Mbit/s
                secret KEY:  to a.example, in header X-Key\\x1b
                address:     10.201.0.2
                sent:        2.00 KiB in 2 packets
                received:    3 B in 1 packets
                refused:     7 times

                """)
        #expect(NetworkText.facts(policy, most: 1)[1].1 == "a.example and 1 more")
        #expect(NetworkText.summary(policy) == "allowlist, 2 allowed")
    }

    @Test func aDenialIsALineThatCannotSteerTheTerminal() throws {
        let event = SandboxEvent(
            time: Timestamp(milliseconds: 1_700_000_000_123), kind: "network_denied", message: "m",
            details: [
                "rule": "host-not-allowed", "kind": "lookup", "transport": "udp", "name": "evil\u{1B}[2J.example",
                "port": "53", "count": "3",
            ])
        #expect(
            DenialText.line(event)
                == "2023-11-14T22:13:20.123Z  lookup      udp        host-not-allowed        evil\\x1b[2J.example:53 x3"
        )
        #expect(DenialText.header.hasPrefix("TIME                      KIND"))
        let bare = SandboxEvent(time: event.time, kind: "network_denied", message: "m")
        #expect(DenialText.line(bare).hasSuffix("-"))
        let json = try DenialText.json(event)
        #expect(!json.contains("\n") && json.contains(#""rule":"host-not-allowed""#))
    }
}
