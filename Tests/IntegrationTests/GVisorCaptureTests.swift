import Foundation
import LinuxSystem
import MartletAPI
import MartletClient
import SandboxModel
import Testing

/// What is peculiar to captures under gVisor: what it refuses to save, and whose network a copy has.
@Suite(.serialized, .requiresDaemon, .requires(.gvisor), .timeLimit(.minutes(5))) struct GVisorCaptureTests {
    private func failure(_ body: () async throws -> Void) async -> MartletError? {
        do {
            try await body()
            return nil
        } catch {
            return error as? MartletError
        }
    }

    private func start(_ script: String, _ fixture: DaemonFixture, _ sandbox: SandboxResource) async throws -> Int32 {
        let process = try await fixture.client.startProcess(
            sandbox.id, StartProcessRequest(cmd: .arguments(["python3", "-u", "-c", script])))
        var text = ""
        for try await event in fixture.client.processEvents(sandbox.id, process.pid) {
            if case .output(_, let bytes) = event { text += String(decoding: bytes, as: UTF8.self) }
            if text.contains("up") { return process.pid }
        }
        Issue.record("the program ended: \(text)")
        return process.pid
    }

    @Test func `what gVisor refuses to save is said with its reason, and the sandbox goes on`() async throws {
        try await DaemonFixture.with { fixture in
            let sandbox = try await fixture.create(CreateSandboxRequest(isolation: "gvisor"))
            let holder = try await start(
                """
                import os,time
                f=open('/root/gone','w+'); f.write('still here'); f.flush(); os.unlink('/root/gone')
                print('up')
                while True:
                  time.sleep(0.02)
                  if os.path.exists('/root/ask'): f.seek(0); open('/root/answer','w').write(f.read()); os.unlink('/root/ask')
                """, fixture, sandbox)
            for attempt in ["snapshot", "fork", "pause"] {
                let refusal = await failure {
                    switch attempt {
                    case "snapshot": _ = try await fixture.client.createSnapshot(of: sandbox.id)
                    case "fork": _ = try await fixture.client.forkSandbox(sandbox.id)
                    default: _ = try await fixture.client.pauseSandbox(sandbox.id)
                    }
                }
                #expect(refusal?.code == .failedPrecondition, "\(attempt): \(refusal.map { "\($0)" } ?? "it worked")")
                #expect(refusal?.message.contains("root/gone") == true, "\(attempt): \(refusal?.message ?? "")")
                #expect(refusal?.details["reason"] == "unsavable")
                let answer = try await fixture.output(
                    sandbox,
                    "rm -f /root/answer; touch /root/ask; while [ -e /root/ask ]; do sleep 0.05; done; cat /root/answer"
                )
                #expect(answer == "still here")
            }
            #expect(try await fixture.client.sandbox(sandbox.id).state == .running)
            #expect(try await fixture.client.allSnapshots().isEmpty)
            try await fixture.client.killProcess(sandbox.id, holder)
            // Once nothing is in the way it works.
            let snapshot = try await fixture.client.createSnapshot(of: sandbox.id)
            // It stays on this host: its file system is one that a host's kernel reads.
            let file = NSTemporaryDirectory() + "martlet-export-\(UUID().uuidString.prefix(8))"
            defer { try? FileManager.default.removeItem(atPath: file) }
            let export = try await fixture.cli("snapshot", "export", snapshot.id, "-O", file)
            #expect(export.code != 0)
            #expect(export.errors.contains("stay on their host"), "\(export.errors)")
        }
    }

    @Test func `children of what was ready go on from their parent, not from what is ready`() async throws {
        try await DaemonFixture.with(["--pool-warm", "1", "--pool-shells", "1"]) { fixture in
            let parent = try await fixture.create(CreateSandboxRequest(isolation: "gvisor"))
            _ = try await fixture.output(parent, "echo held > /run/held; echo kept > /root/kept")
            let forked = try await fixture.client.forkSandbox(parent.id, ForkSandboxRequest(count: 3))
            let children = forked.forks.compactMap(\.sandbox)
            #expect(children.count == 3)
            for child in children {
                #expect(try await fixture.output(child, "cat /run/held /root/kept") == "held\nkept")
            }
            // A child can do all that its parent can.
            let grandchild = try #require(
                try await fixture.client.forkSandbox(children[0].id).forks.first?.sandbox)
            try await fixture.client.deleteSandbox(children[0].id)
            #expect(try await fixture.output(grandchild, "cat /run/held /root/kept") == "held\nkept")
            #expect(fixture.containers() >= 4)
        }
    }

    @Test func `a daemon of later on captures what an earlier one has started`() async throws {
        try await DaemonFixture.with { fixture in
            let sandbox = try await fixture.create(CreateSandboxRequest(isolation: "gvisor"))
            _ = try await fixture.output(sandbox, "echo held > /run/held")
            fixture.kill()
            try await fixture.start()
            let child = try #require(try await fixture.client.forkSandbox(sandbox.id).forks.first?.sandbox)
            fixture.kill()
            try await fixture.start()
            for one in [sandbox, child] { #expect(try await fixture.output(one, "cat /run/held") == "held") }
            try await fixture.client.pauseSandbox(child.id)
            fixture.kill()
            try await fixture.start()
            try await fixture.client.resumeSandbox(child.id)
            #expect(try await fixture.output(child, "cat /run/held; hostname") != "")
        }
    }
}

/// The same with a network.
@Suite(.serialized, .requiresDaemon, .requiresNetworkLab, .requires(.gvisor), .timeLimit(.minutes(5)))
struct GVisorNetworkCaptureTests {
    @Test func `a copy has a network of its own, and open connections are in the way of one`() async throws {
        try await NetworkLab.with { lab in
            try await DaemonFixture.with(lab.daemonOptions + ["--no-pool"], lab: lab) { fixture in
                let policy = NetworkPolicy(mode: .allowlist, allow: rules("93.184.232.0/24:7001"))
                let sandbox = try await fixture.guest(policy, lab, .gvisor)
                #expect(sandbox.isolation.engine == "gvisor")
                let forked = try await fixture.client.forkSandbox(sandbox.id, ForkSandboxRequest(count: 2))
                let children = forked.forks.compactMap(\.sandbox)
                #expect(children.count == 2)
                let all = [sandbox] + children
                var addresses: Set<String> = []
                for one in all {
                    if let address = try await fixture.client.network(one.id).address { addresses.insert("\(address)") }
                }
                #expect(addresses.count == 3, "\(addresses)")
                // All of them reach what they may, at once.
                for one in all {
                    let process = try await fixture.client.startProcess(
                        one.id,
                        StartProcessRequest(
                            cmd: .arguments([
                                "python3", "-u", "works.py", "stay", "93.184.232.1", "7001", "echo", "900",
                            ]),
                            cwd: "/root/lab"))
                    var text = ""
                    for try await event in fixture.client.processEvents(one.id, process.pid) {
                        if case .output(_, let bytes) = event { text += String(decoding: bytes, as: UTF8.self) }
                        if text.contains("in use") { break }
                    }
                    #expect(text.contains("in use"), "\(text)")
                    do {
                        _ = try await fixture.client.createSnapshot(of: one.id)
                        Issue.record("a connection to outside was captured")
                    } catch let refusal as MartletError {
                        #expect(refusal.code == .failedPrecondition)
                        #expect(refusal.message.contains("7001"), "\(refusal.message)")
                    }
                    // What was in the way is unharmed.
                    #expect(try await fixture.client.process(one.id, process.pid).running)
                }
            }
        }
    }
}
