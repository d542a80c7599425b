import Foundation
import MartletAPI
import MartletClient
import SandboxModel
import Testing

/// Links, namespaces, rules, processes and mounts that sandboxes' networks could leave behind.
@Suite(.serialized, .requiresDaemon, .requiresNetworkLab, .timeLimit(.minutes(10))) struct SlotLeakTests {
    private static let options = ["--pool-warm", "2", "--pool-shells", "1", "--network-pool", "4"]
    private static let policy = NetworkPolicy(mode: .allowlist, allow: rules("ok.example"))

    private func create(_ client: MartletClient) async throws -> SandboxResource {
        try await client.createSandbox(CreateSandboxRequest(timeoutSeconds: 600, network: Self.policy))
    }

    @Test func `200 creates and kills leave nothing`() async throws {
        try await NetworkLab.with { lab in
            let before = try await lab.holdings()
            try await DaemonFixture.with(lab.daemonOptions + Self.options, lab: lab) { fixture in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for _ in 0..<4 {
                        group.addTask { [client = fixture.client] in
                            for _ in 0..<50 {
                                let sandbox = try await create(client)
                                try await client.deleteSandbox(sandbox.id)
                            }
                        }
                    }
                    try await group.waitForAll()
                }
                let sandbox = try await create(fixture.client)
                #expect(try await fixture.output(sandbox, "curl -s -m 10 http://ok.example/quiet") == "heard")
                try await fixture.client.deleteSandbox(sandbox.id)
                fixture.stop()
                try await expect(lab, isLike: before, data: fixture.data)
            }
        }
    }

    @Test func `a daemon killed at any moment leaves nothing, and sandboxes keep their network`() async throws {
        try await NetworkLab.with { lab in
            let before = try await lab.holdings()
            try await DaemonFixture.with(lab.daemonOptions + Self.options, lab: lab) { fixture in
                let kept = try await create(fixture.client)
                for round in 0..<10 {
                    let creates = Task { [client = fixture.client] in
                        for _ in 0..<30 {
                            guard let sandbox = try? await create(client) else { continue }
                            if !sandbox.id.hasSuffix("0") { try? await client.deleteSandbox(sandbox.id) }
                        }
                    }
                    // Another moment each time: that is what is tested.
                    try await Task.sleep(for: .milliseconds(11 + (round * 97) % 503))
                    fixture.kill()
                    creates.cancel()
                    await creates.value
                    try await fixture.start()
                    #expect(
                        try await fixture.output(kept, "curl -s -m 10 http://ok.example/quiet/\(round)") == "heard",
                        "round \(round)")
                    for sandbox in try await fixture.client.allSandboxes() where sandbox.id != kept.id {
                        try await fixture.client.deleteSandbox(sandbox.id)
                    }
                }
                try await fixture.client.deleteSandbox(kept.id)
                fixture.stop()
                try await expect(lab, isLike: before, data: fixture.data)
            }
        }
    }

    private func expect(_ lab: NetworkLab, isLike before: NetworkLab.Holdings, data: String) async throws {
        let after = try await lab.holdings()
        // Tests beside this one have mounts in directories of their own for a while.
        func ours(_ mounts: [String]) -> [String] {
            mounts.filter { !$0.contains("/martlet-") || $0.contains(data) }
        }
        #expect(after.links == before.links)
        #expect(after.routes == before.routes)
        #expect(after.namespaces == before.namespaces)
        #expect(after.processes == before.processes)
        #expect(ours(after.mounts) == ours(before.mounts))
        #expect(after.rules == before.rules)
    }
}
