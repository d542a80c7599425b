import Foundation
import MartletAPI
import MartletClient
import SandboxModel
import Testing

/// Secrets reach the hosts they are for, and are nowhere else: not in the guest, not with other hosts, not in any file.
@Suite(.serialized, .requiresDaemon, .requiresNetworkLab, .timeLimit(.minutes(15))) struct SecretTests {
    /// Values that are found nowhere by accident.
    private struct Values {
        let plain = "sk-\(UUID().uuidString.lowercased())"
        let header = "hk-\(UUID().uuidString.lowercased())"
        let stray = "st-\(UUID().uuidString.lowercased())"

        var all: [String] { [plain, header, stray] }

        var requests: [SecretRequest] {
            [
                SecretRequest(name: "API_KEY", valueFrom: .init(value: plain), hosts: [pattern("api.example")]),
                SecretRequest(
                    name: "HEADER_KEY", valueFrom: .init(value: header), hosts: [pattern("shared-ok.example")],
                    header: "X-Api-Key", format: "key {value}"),
                SecretRequest(name: "STRAY_KEY", valueFrom: .init(value: stray), hosts: [pattern("stray.example")]),
            ]
        }

        private func pattern(_ text: String) -> HostPattern {
            guard let pattern = HostPattern(text) else { preconditionFailure("\(text) is no host") }
            return pattern
        }
    }

    private static let policy = NetworkPolicy(
        mode: .allowlist,
        allow: rules("api.example", "shared-ok.example", "other.example", "stray.example", "ok.example"))

    private func with(
        _ body: (NetworkLab, DaemonFixture, SandboxResource, Values) async throws -> Void
    ) async throws {
        try await NetworkLab.with { lab in
            try await DaemonFixture.with(lab.daemonOptions + ["--pool-warm", "1", "--pool-shells", "1"], lab: lab) {
                fixture in
                let values = Values()
                let sandbox = try await fixture.guest(Self.policy, lab, secrets: values.requests)
                try await body(lab, fixture, sandbox, values)
            }
        }
    }

    /// What the server of a path was asked, as text; empty when it was not asked.
    private func asked(_ lab: NetworkLab, _ path: String) async throws -> String {
        try await lab.log().filter { $0["server"] == "http" && $0["target"]?.contains(path) == true }
            .map { "\($0["target"] ?? "") \($0["headers"] ?? "")" }.joined(separator: "\n")
    }

    @Test func `a value goes to its own hosts over TLS, and nowhere else`() async throws {
        try await with { lab, fixture, sandbox, values in
            let placeholder = try await fixture.output(sandbox, "echo $API_KEY")
            #expect(!placeholder.isEmpty && !values.all.contains(placeholder))
            // The sandbox's own authority is trusted in the guest: no option says so.
            let lines: [(path: String, line: String, expected: String)] = [
                (
                    "/quiet/bearer", "-H \"Authorization: Bearer $API_KEY\" https://api.example/quiet/bearer",
                    "Bearer \(values.plain)"
                ),
                ("/quiet/own", "-H \"X-Anything: $API_KEY\" https://api.example/quiet/own", values.plain),
                ("/quiet/target", "\"https://api.example/quiet/target?key=$API_KEY\"", "key=\(values.plain)"),
                (
                    "/quiet/basic", "-u \"x:$API_KEY\" https://api.example/quiet/basic",
                    Data("x:\(values.plain)".utf8).base64EncodedString()
                ),
                ("/quiet/format", "https://shared-ok.example/quiet/format", "key \(values.header)"),
                ("/quiet/set", "-H 'X-Api-Key: mine' https://shared-ok.example/quiet/set", "key \(values.header)"),
            ]
            for (path, line, expected) in lines {
                let result = try await fixture.shell(sandbox, "curl -sS --max-time 20 \(line)")
                #expect(result.stdout == "heard\n", "\(path): \(result.stderr ?? "")")
                let text = try await asked(lab, path)
                #expect(text.contains(expected), "\(path): \(text)")
                #expect(!text.contains(placeholder), "\(path): \(text)")
            }
            #expect(try await !asked(lab, "/quiet/set").contains("mine"))
            // Kept alive, each request on its own.
            _ = try await fixture.shell(
                sandbox, "curl -sS -H \"X-Key: $API_KEY\" https://api.example/quiet/k1 https://api.example/quiet/k2")
            #expect(try await asked(lab, "/quiet/k1").contains(values.plain))
            #expect(try await asked(lab, "/quiet/k2").contains(values.plain))

            // Elsewhere the placeholder stays what it is.
            for (path, line) in [
                ("/quiet/plain", "http://api.example/quiet/plain"),
                ("/quiet/other", "--cacert /root/ca.pem https://other.example/quiet/other"),
                ("/quiet/second", "https://shared-ok.example/quiet/second"),
            ] {
                let result = try await fixture.shell(sandbox, "curl -sS -H \"X-Key: $API_KEY\" \(line)")
                #expect(result.stdout == "heard\n", "\(path): \(result.stderr ?? "")")
                let text = try await asked(lab, path)
                #expect(text.contains(placeholder) && !text.contains(values.plain), "\(path): \(text)")
            }
        }
    }

    @Test func `only hosts with a secret are looked into, and are held to their name and certificate`() async throws {
        try await with { lab, fixture, sandbox, values in
            let works = "cd /root/lab && python3 works.py"
            let leaf = try String(contentsOfFile: "\(lab.directory)/leaf.pem", encoding: .utf8)
                .trimmingCharacters(in: .whitespacesAndNewlines)
            #expect(try await fixture.output(sandbox, "\(works) certificate other.example") == leaf)
            #expect(try await fixture.output(sandbox, "\(works) certificate api.example") != leaf)
            try await EventWatch.with(fixture.client, sandbox.id) { watch in
                let probe = try await GuestProbe.start(fixture.client, sandbox.id)
                // One name in the handshake, another in the request.
                let fronted = try await probe.attempt(
                    "tls_request",
                    ["resolve": "api.example", "sni": "api.example", "host": "other.example", "token": "fronted"])
                #expect(fronted.refused, "\(fronted.detail)")
                #expect(try await asked(lab, "/fronted").isEmpty)
                let mismatch = await watch.first { $0.isDenial("host-mismatch") }
                let told = await watch.denials()
                #expect(mismatch != nil, "\(told)")
                // A server that anybody could be gets nothing, and the guest is told so.
                let stray = try await fixture.shell(
                    sandbox,
                    "curl -sk -o /dev/null -w '%{http_code}' -H \"X-Key: $STRAY_KEY\" "
                        + "https://stray.example/quiet/stray")
                #expect(stray.stdout == "502")
                #expect(try await asked(lab, "/quiet/stray").isEmpty)
            }
        }
    }

    @Test func `no value is in the guest, in a snapshot, in the database, or in a log`() async throws {
        try await with { lab, fixture, sandbox, values in
            _ = try await fixture.shell(
                sandbox,
                "curl -sS -u \"x:$API_KEY\" https://api.example/quiet/used https://shared-ok.example/quiet/used; "
                    + "env > /root/env; sync")
            #expect(try await asked(lab, "/quiet/used").contains(values.header))
            let snapshot = try await fixture.client.createSnapshot(of: sandbox.id)
            try await fixture.client.pauseSandbox(sandbox.id)
            #expect(!snapshot.id.isEmpty)
            let known = try await fixture.client.network(sandbox.id)
            #expect(known.secrets.map(\.name).sorted() == ["API_KEY", "HEADER_KEY", "STRAY_KEY"])
            let texts = values.all.flatMap { [$0, Data("x:\($0)".utf8).base64EncodedString()] }
            let files: [String: Argument] = ["directory": .text(fixture.data)]
            let values = Argument.list(texts.map { .text($0) })
            let control =
                try await lab.command("search_files", files.merging(["texts": ["API_KEY"]]) { $1 }).found ?? []
            #expect(!control.isEmpty, "the search finds nothing at all")
            #expect(try await lab.command("search_files", files.merging(["texts": values]) { $1 }).found == [])
            try await fixture.client.resumeSandbox(sandbox.id)
            // The machine's memory itself, with all that was written since.
            let place = "/\(URL(fileURLWithPath: fixture.data).lastPathComponent)/node/machines/"
            let memory = try await lab.command(
                "search_memory", ["word": .text(place), "texts": values])
            #expect(memory.found == [] && (memory.count ?? 0) >= 1)
        }
    }

    @Test func `secrets survive pauses and restarts, and forks have them only when asked`() async throws {
        try await with { lab, fixture, sandbox, values in
            func use(_ sandbox: SandboxResource, _ path: String) async throws -> String {
                _ = try await fixture.shell(
                    sandbox,
                    "curl -sSk --max-time 20 -H \"X-Key: ${API_KEY:-$(cat /root/placeholder)}\" "
                        + "https://api.example\(path)")
                return try await asked(lab, path)
            }
            _ = try await fixture.shell(sandbox, "echo $API_KEY > /root/placeholder")
            try await fixture.client.pauseSandbox(sandbox.id)
            try await fixture.client.resumeSandbox(sandbox.id)
            #expect(try await use(sandbox, "/quiet/resumed").contains(values.plain))
            fixture.kill()
            try await fixture.start()
            #expect(try await use(sandbox, "/quiet/restarted").contains(values.plain))
            for inherits in [false, true] {
                let fork = try await fixture.client.forkSandbox(
                    sandbox.id, ForkSandboxRequest(inheritSecrets: inherits))
                guard let child = fork.forks.first?.sandbox else {
                    Issue.record("no fork: \(fork)")
                    return
                }
                let text = try await use(child, "/quiet/fork-\(inherits)")
                #expect(text.contains(values.plain) == inherits, "inherits \(inherits): \(text)")
                try await fixture.client.deleteSandbox(child.id)
            }
        }
    }
}
