import ControlStore
import FoundationEssentials
import Glibc
import Logging
import MartletAPI
import Node
import SandboxModel
import Synchronization
import Testing

@testable import ControlPlane

@Suite("Secrets")
struct SecretTests {
    /// What must be nowhere; long enough not to be anywhere by chance.
    static let value = "sk-3f9a7c15e2b84d06-hunter2"

    static func request(
        _ name: String = "API_KEY", value: String = SecretTests.value, header: String? = nil, format: String? = nil,
        hosts: [String] = ["api.example.com"]
    ) -> SecretRequest {
        SecretRequest(
            name: name, valueFrom: .init(value: value), hosts: hosts.compactMap { HostPattern($0) }, header: header,
            format: format)
    }

    private func id(_ sandbox: SandboxResource?) throws -> SandboxID {
        try #require(sandbox.flatMap { SandboxID(rawValue: $0.id) })
    }

    @Test("The node is given value, placeholder and an authority; clients are told all but the value")
    func given() async throws {
        try await PlaneFixture.with { fixture in
            let made = try await fixture.create(
                CreateSandboxRequest(secrets: [
                    Self.request(header: "Authorization", format: "Bearer {value}"), Self.request("OTHER"),
                ]))
            #expect(made.secrets?.map(\.name) == ["API_KEY", "OTHER"])
            #expect(made.secrets?[0].hosts.map(\.description) == ["api.example.com"])
            let network = try #require(fixture.node.network(of: try id(made)))
            #expect(network.policy == .closed)
            #expect(network.secrets.map(\.value) == [Self.value, Self.value])
            #expect(network.secrets[0].header == "Authorization" && network.secrets[0].format == "Bearer {value}")
            #expect(network.secrets[1].header == nil && network.secrets[1].format == "{value}")
            let placeholder = network.secrets[0].placeholder
            #expect(placeholder.hasPrefix("martlet-secret-api_key-") && placeholder.utf8.count == 23 + 26)
            #expect(network.authority?.certificate.hasPrefix("-----BEGIN CERTIFICATE-----") == true)
            #expect(network.authority?.privateKey.contains("PRIVATE KEY") == true)
            let told = try await fixture.plane.sandboxes.network(made.id, caller: .local)
            #expect(told.secrets.map(\.placeholder) == network.secrets.map(\.placeholder))
            #expect(told.secrets.map(\.header) == ["Authorization", nil])
            // No two have a placeholder or an authority in common.
            let other = try await fixture.create(CreateSandboxRequest(secrets: [Self.request()]))
            let otherNetwork = try #require(fixture.node.network(of: try id(other)))
            #expect(otherNetwork.secrets[0].placeholder != placeholder)
            #expect(otherNetwork.authority != network.authority)
        }
    }

    @Test("A value is in no file, log line, event or answer")
    func nowhere() async throws {
        let (scratch, log) = (try Scratch(), CapturedLog())
        var answers = ""
        var authority: NetworkAuthority?
        func told(_ answer: some Encodable) throws {
            answers += String(decoding: try JSONEncoder().encode(answer), as: UTF8.self)
        }
        try await PlaneFixture.with(scratch: scratch, logger: log.logger) { fixture in
            let (sandboxes, snapshots) = (fixture.plane.sandboxes, fixture.plane.snapshots)
            let request = CreateSandboxRequest(
                name: "web", network: NetworkPolicy(mode: .public), secrets: [Self.request(header: "X-Key")])
            let made = try await sandboxes.create(request, idempotencyKey: "once", caller: .local)
            try told(made)
            try told(try await sandboxes.create(request, idempotencyKey: "once", caller: .local))
            authority = fixture.node.network(of: try id(made))?.authority
            try told(try await sandboxes.network("web", caller: .local))
            try told(try await sandboxes.setNetwork("web", .closed, caller: .local))
            try told(try await snapshots.fork(sandbox: "web", .init(count: 2, inheritSecrets: true), caller: .local))
            try told(try await snapshots.create("web", .init(name: "gold"), idempotencyKey: "too", caller: .local))
            try told(try await sandboxes.pause("web", caller: .local))
            try told(try await sandboxes.resume("web", .init(), caller: .local))
            fixture.node.fail(.setNetwork, MartletError(.unavailable, "set network: no"))
            _ = await code { try await sandboxes.setNetwork("web", .closed, caller: .local) }
            _ = await code {
                try await fixture.create(
                    CreateSandboxRequest(secrets: [Self.request(value: Self.value + "\n"), Self.request()]))
            }
            fixture.node.failCreates(MartletError(.unavailable, "create: no"))
            _ = await code { try await fixture.create(CreateSandboxRequest(secrets: [Self.request()])) }
            try await sandboxes.history(of: "web", after: 0, follow: false, caller: .local) { try told($0.event) }
            try told(try sandboxes.list(SandboxFilter(), caller: .local))
            let record = try #require(try await fixture.store.sandboxes().first)
            answers += "\(record) \(String(reflecting: record)) \(String(reflecting: request))"
        }
        let key = try #require(authority?.privateKey.split(separator: "\n").dropFirst().first.map(String.init))
        let names = try FileManager.default.contentsOfDirectory(atPath: scratch.path)
        #expect(names.contains("martlet.db") && names.contains("secrets.key"))
        for secret in [Self.value, key, "PRIVATE KEY", Data(Self.value.utf8).base64EncodedString()] {
            for name in names {
                let bytes = try Data(contentsOf: URL(filePath: scratch.path + "/" + name))
                #expect(bytes.firstRange(of: Data(secret.utf8)) == nil, "\(name)")
            }
            #expect(!answers.contains(secret))
            #expect(!log.text.contains(secret))
        }
        #expect(answers.contains("API_KEY") && !log.text.isEmpty)
        let facts = try FileManager.default.attributesOfItem(atPath: scratch.path + "/secrets.key")
        #expect("\(facts[.posixPermissions] ?? "none")" == "\(0o600)")
    }

    @Test(
        "What is no secret is refused, naming the field and never the value",
        arguments: [
            ([request("1A")], "secrets[0].name"), ([request("")], "secrets[0].name"),
            ([request("A-B")], "secrets[0].name"), ([request("TAKEN")], "secrets[0].name"),
            ([request(String(repeating: "A", count: 129))], "secrets[0].name"),
            ([request(), request()], "secrets[1].name"), ([request(hosts: [])], "secrets[0].hosts"),
            ([request(hosts: (0..<65).map { "h\($0).example" })], "secrets[0].hosts"),
            ([request(value: "")], "secrets[0].value_from.value"),
            ([request(value: value + "\r")], "secrets[0].value_from.value"),
            ([request(value: value + "\n")], "secrets[0].value_from.value"),
            ([request(value: value + "\0")], "secrets[0].value_from.value"),
            ([request(value: String(repeating: "x", count: 16_385))], "secrets[0].value_from.value"),
            ([request(header: "")], "secrets[0].header"), ([request(header: "X Key")], "secrets[0].header"),
            ([request(header: "X-Key:")], "secrets[0].header"), ([request(header: "X\r\nY")], "secrets[0].header"),
            ([request(header: "Host")], "secrets[0].header"), ([request(header: "HOST")], "secrets[0].header"),
            ([request(header: "Content-Length")], "secrets[0].header"),
            ([request(header: "transfer-encoding")], "secrets[0].header"),
            ([request(header: "Connection")], "secrets[0].header"), ([request(header: "TE")], "secrets[0].header"),
            ([request(header: "Proxy-Authorization")], "secrets[0].header"),
            ([request(format: "Bearer {value}")], "secrets[0].format"),
            ([request(header: "X", format: "Bearer")], "secrets[0].format"),
            ([request(header: "X", format: "{value}\nY: z")], "secrets[0].format"),
            ([request(header: "X", format: "{value}" + String(repeating: "x", count: 1024))], "secrets[0].format"),
            (
                [
                    request("A", header: "X-Key", hosts: ["*.example.com"]),
                    request("B", header: "x-key", hosts: ["a.example.com"]),
                ], "secrets[1].header"
            ),
            ((0..<33).map { request("S\($0)") }, "secrets"),
        ])
    func refused(secrets: [SecretRequest], field: String) async throws {
        try await PlaneFixture.with { fixture in
            let error = await #expect(throws: MartletError.self) {
                try await fixture.create(CreateSandboxRequest(env: ["TAKEN": "1"], secrets: secrets))
            }
            #expect(error?.code == .invalidArgument)
            #expect(error?.details["field"] == field, "\(error?.message ?? "")")
            #expect(error?.message.contains(Self.value) == false)
            #expect(fixture.node.created.isEmpty)
        }
    }

    @Test(
        "A value has exactly one source; variables of the daemon are the administrator's, and only those meant for it")
    func sources() async throws {
        let variables = ["MARTLET_SECRET_KEY": Self.value, "MARTLET_SECRET_BAD": "a\nb"]
        try await PlaneFixture.with(configure: { $0.secretVariables = variables }) { fixture in
            func secret(_ source: SecretRequest.Source) -> CreateSandboxRequest {
                var secret = Self.request()
                secret.valueFrom = source
                return CreateSandboxRequest(secrets: [secret])
            }
            let made = try await fixture.create(secret(.init(env: "MARTLET_SECRET_KEY")))
            #expect(fixture.node.network(of: try id(made))?.secrets.first?.value == Self.value)
            for (name, hint) in [
                ("PATH", "MARTLET_SECRET_*"), ("MARTLET_API_KEY", "MARTLET_SECRET_*"), ("", "MARTLET_SECRET_*"),
                ("MARTLET_SECRET_NONE", "without a variable"), ("MARTLET_SECRET_BAD", "line end"),
            ] {
                let error = await #expect(throws: MartletError.self) {
                    try await fixture.create(secret(.init(env: name)))
                }
                #expect(error?.code == .invalidArgument && error?.message.contains(hint) == true)
                #expect(error?.details["field"] == "secrets[0].value_from.env")
            }
            var both = SecretRequest.Source(value: "a")
            both.env = "MARTLET_SECRET_KEY"
            var neither = both
            (neither.value, neither.env) = (nil, nil)
            for source in [both, neither] {
                let error = await #expect(throws: MartletError.self) { try await fixture.create(secret(source)) }
                #expect(error?.details["field"] == "secrets[0].value_from")
            }
            let user = try await fixture.user()
            let sandboxes = fixture.plane.sandboxes
            #expect(
                await code {
                    try await sandboxes.create(
                        secret(.init(env: "MARTLET_SECRET_KEY")), idempotencyKey: nil, caller: user)
                } == .permissionDenied)
            _ = try await sandboxes.create(secret(.init(value: "own")), idempotencyKey: nil, caller: user)
        }
    }

    @Test("Children have secrets only when asked, with the placeholders they know; a snapshot holds none")
    func inheritance() async throws {
        try await PlaneFixture.with { fixture in
            let (snapshots, node) = (fixture.plane.snapshots, fixture.node)
            let parent = try await fixture.create(
                CreateSandboxRequest(name: "web", record: true, secrets: [Self.request(), Self.request("B")]))
            let original = try #require(node.network(of: try id(parent)))
            func children(_ request: ForkSandboxRequest) async throws -> [SandboxNetwork] {
                let made = try await snapshots.fork(sandbox: "web", request, caller: .local)
                return try made.forks.map { try #require(node.network(of: try id($0.sandbox))) }
            }
            #expect(try await children(.init()) == [.closed])
            for heir in try await children(.init(count: 2, inheritSecrets: true)) { #expect(heir == original) }
            let mixed = try await children(
                .init(secrets: [Self.request(value: "new"), Self.request("C")], inheritSecrets: true))[0]
            #expect(mixed.secrets.map(\.name) == ["B", "API_KEY", "C"])
            #expect(mixed.secrets.map(\.value) == [Self.value, "new", Self.value])
            #expect(mixed.secrets[0] == original.secrets[1] && mixed.authority == original.authority)
            #expect(mixed.secrets[1].placeholder != original.secrets[0].placeholder)
            let own = try await children(.init(count: 2, secrets: [Self.request("C")]))
            #expect(own.map { $0.secrets.map(\.name) } == [["C"], ["C"]])
            #expect(Set(own.map(\.authority) + [original.authority]).count == 3)
            #expect(try await children(.init(at: 0, inheritSecrets: true)) == [original])
            _ = try await fixture.plane.sandboxes.pause("web", caller: .local)
            #expect(try await children(.init(inheritSecrets: true)) == [original])

            _ = try await snapshots.create("web", .init(name: "gold"), idempotencyKey: nil, caller: .local)
            let restored = try await fixture.create(CreateSandboxRequest(fromSnapshot: "gold"))
            #expect(restored.secrets == [])
            #expect(node.network(of: try id(restored)) == .closed)
            let forked = try await snapshots.fork(snapshot: "gold", .init(secrets: [Self.request()]), caller: .local)
            let child = try #require(node.network(of: try id(forked.forks[0].sandbox)))
            #expect(child.secrets.count == 1 && child.authority != original.authority)
            // Enough is enough, also together.
            let many = (0..<31).map { Self.request("S\($0)") }
            #expect(
                await code { try await children(.init(secrets: many, inheritSecrets: true)) } == .invalidArgument)
        }
    }

    @Test("They are given again after a restart; without the right key the network is closed, and the daemon goes on")
    func restart() async throws {
        let (scratch, node) = (try Scratch(), TestNode())
        let keyFile = scratch.path + "/secrets.key"
        var original: SandboxNetwork?
        var ids: [SandboxID] = []
        try await PlaneFixture.with(node: node, scratch: scratch) { fixture in
            for name in ["web", "asleep"] {
                let request = CreateSandboxRequest(
                    name: name, network: NetworkPolicy(mode: .public), secrets: [Self.request()])
                ids.append(try id(try await fixture.create(request)))
            }
            original = node.network(of: ids[0])
            _ = try await fixture.plane.sandboxes.pause("asleep", caller: .local)
        }
        node.forgetNetworks()
        try await PlaneFixture.with(node: node, scratch: scratch) { fixture in
            #expect(node.network(of: ids[0]) == original)
            let told = try await fixture.plane.sandboxes.network("web", caller: .local)
            #expect(told.problem == nil)
        }
        let key = try Data(contentsOf: URL(filePath: keyFile))
        for bad in [nil, Data(repeating: 7, count: 32), Data(repeating: 7, count: 5)] as [Data?] {
            try FileManager.default.removeItem(atPath: keyFile)
            if let bad { try bad.write(to: URL(filePath: keyFile)) }
            node.forgetNetworks()
            try await PlaneFixture.with(node: node, scratch: scratch) { fixture in
                let sandboxes = fixture.plane.sandboxes
                #expect(node.network(of: ids[0]) == .closed)
                let told = try await sandboxes.network("web", caller: .local)
                #expect(told.problem?.contains("secrets.key") == true)
                #expect(told.policy.mode == .public && told.secrets.map(\.name) == ["API_KEY"])
                try await fixture.waitForEvent(ids[0].rawValue, kind: "network_closed")
                let error = await #expect(throws: MartletError.self) {
                    try await sandboxes.resume("asleep", .init(), caller: .local)
                }
                #expect(error?.code == .failedPrecondition && error?.message.contains("secrets.key") == true)
                #expect(try fixture.sandbox("asleep").state == .paused)
                #expect(
                    await code { try await sandboxes.setNetwork("web", .closed, caller: .local) }
                        == .failedPrecondition)
                #expect(
                    await code {
                        try await fixture.plane.snapshots.fork(
                            sandbox: "web", .init(inheritSecrets: true), caller: .local)
                    } == .failedPrecondition)
                #expect(node.network(of: ids[0]) == .closed)
                // Without secrets all goes on.
                _ = try await fixture.plane.snapshots.fork(sandbox: "web", .init(), caller: .local)
            }
            if bad == nil { try Data().write(to: URL(filePath: keyFile)) }
            try key.write(to: URL(filePath: keyFile))
        }
        try await PlaneFixture.with(node: node, scratch: scratch) { fixture in
            #expect(node.network(of: ids[0]) == original)
            _ = try await fixture.plane.sandboxes.resume("asleep", .init(), caller: .local)
            #expect(node.network(of: ids[1])?.secrets.map(\.value) == [Self.value])
        }
    }

    @Test("Nothing of one sandbox can be put into another's record")
    func exchanged() async throws {
        let (scratch, node) = (try Scratch(), TestNode())
        var ids: [SandboxID] = []
        try await PlaneFixture.with(node: node, scratch: scratch) { fixture in
            for _ in 0..<2 {
                ids.append(try id(try await fixture.create(CreateSandboxRequest(secrets: [Self.request()]))))
            }
        }
        do {
            let store = try await scratch.openStore()
            var records = try await store.sandboxes().sorted { $0.id.rawValue < $1.id.rawValue }
            var damaged = try #require(records[1].secrets)
            records[0].secrets = damaged
            damaged.bytes[20] ^= 1
            records[1].secrets = damaged
            for record in records { try await store.update(record) }
        }
        node.forgetNetworks()
        try await PlaneFixture.with(node: node, scratch: scratch) { fixture in
            for id in ids {
                #expect(node.network(of: id) == .closed)
                let told = try await fixture.plane.sandboxes.network(id.rawValue, caller: .local)
                #expect(told.problem?.contains("damaged") == true)
            }
        }
    }

    @Test("The same request is the same by its values, too")
    func idempotency() async throws {
        try await PlaneFixture.with { fixture in
            func make(_ value: String) async throws -> String {
                try await fixture.plane.sandboxes.create(
                    CreateSandboxRequest(secrets: [Self.request(value: value)]), idempotencyKey: "k", caller: .local
                ).id
            }
            let first = try await make("one")
            #expect(try await make("one") == first)
            #expect(await code { try await make("two") } == .conflict)
        }
    }
}

/// Log lines as they are written.
final class CapturedLog: Sendable {
    private let lines = Mutex("")
    var text: String { lines.withLock { $0 } }

    var logger: Logger {
        Logger(label: "test") { _ in Handler(log: self) }
    }

    private struct Handler: LogHandler {
        let log: CapturedLog
        var logLevel = Logger.Level.trace
        var metadata = Logger.Metadata()
        var metadataProvider: Logger.MetadataProvider?

        init(log: CapturedLog) { self.log = log }

        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }

        func log(event: LogEvent) {
            log.lines.withLock { $0 += "\(event.level) \(event.message) \(event.metadata ?? [:])\n" }
        }
    }
}
