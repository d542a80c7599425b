import Foundation
import LinuxSystem
import MartletAPI
import MartletClient
import SandboxModel
import Testing

@Suite(.serialized, .requiresDaemon, .timeLimit(.minutes(5))) struct RecoveryTests {
    @Test func `sandboxes and their processes go on when the daemon is killed`() async throws {
        try await DaemonFixture.with(["--pool-warm", "1", "--pool-shells", "1"]) { fixture in
            let sandbox = try await fixture.create(CreateSandboxRequest(name: "survivor", metadata: ["k": "v"]))
            let process = try await fixture.client.startProcess(
                sandbox.id,
                StartProcessRequest(cmd: .shell("n=0; while :; do n=$((n+1)); echo line $n of many; sleep 0.01; done")))
            // Being read while the daemon dies, so that a frame may be cut off in the middle.
            async let followed: Int = {
                var seen = 0
                for try await event in fixture.client.processEvents(sandbox.id, process.pid) {
                    if case .output(_, let bytes) = event { seen += bytes.count }
                    if seen > 2000 { break }
                }
                return seen
            }()
            _ = try await fixture.output(sandbox, "echo marker > /root/file")
            fixture.kill()
            #expect(!fixture.machines().isEmpty)
            try await fixture.start()
            #expect(try await followed > 2000, "the follower did not notice the restart")
            let found = try await fixture.client.sandbox("survivor")
            #expect(found.id == sandbox.id)
            #expect(found.state == .running)
            #expect(found.metadata == ["k": "v"])
            #expect(try await fixture.output(sandbox, "cat /root/file") == "marker")
            #expect(try await fixture.client.process(sandbox.id, process.pid).running)
            try await fixture.client.deleteSandbox(sandbox.id)
            fixture.stop()
            #expect(fixture.machines().isEmpty)
            #expect(fixture.machineDirectories().isEmpty)
        }
    }

    @Test func `killed at any moment while creating, the daemon leaks nothing and loses nothing`() async throws {
        try await DaemonFixture.with(["--pool-warm", "1", "--pool-shells", "1"]) { fixture in
            let kept = try await fixture.create()
            for round in 0..<8 {
                let creates = Task { [client = fixture.client] in
                    for _ in 0..<20 { _ = try? await client.createSandbox(CreateSandboxRequest()) }
                }
                // A different moment each time: that is what is tested.
                try await Task.sleep(for: .milliseconds(7 + round * 31))
                fixture.kill()
                creates.cancel()
                await creates.value
                try await fixture.start()
                let known = try await fixture.client.allSandboxes().map(\.id)
                #expect(known.contains(kept.id))
                #expect(try await fixture.output(kept, "echo up") == "up")
                for id in known where id != kept.id { try await fixture.client.deleteSandbox(id) }
            }
            try await fixture.client.deleteSandbox(kept.id)
            fixture.stop()
            #expect(fixture.machines().isEmpty)
            #expect(fixture.machineDirectories().isEmpty)
        }
    }

    @Test func `a damaged state file costs its own sandbox only`() async throws {
        try await DaemonFixture.with { fixture in
            let good = try await fixture.create()
            let bad = try await fixture.create()
            fixture.kill()
            let directory = try #require(
                fixture.machineDirectories().map { "\(fixture.data)/node/machines/\($0)" }.first {
                    (try? String(contentsOfFile: "\($0)/sandbox.json", encoding: .utf8))?.contains(bad.id) == true
                })
            try Data("{\"id\": 3, nonsense".utf8).write(to: URL(fileURLWithPath: "\(directory)/sandbox.json"))
            try await fixture.start()
            #expect(try await fixture.output(good, "echo up") == "up")
            #expect(try await fixture.client.sandbox(bad.id).state == .failed)
            #expect(fixture.machines().count == 1)
        }
    }

    @Test func `a machine killed on the host is told as failed and cleaned up`() async throws {
        try await DaemonFixture.with { fixture in
            let sandbox = try await fixture.create()
            let events = fixture.client.events(sandbox.id)
            for machine in fixture.machines() { machine.signal(SIGKILL) }
            for try await event in events where event.details["to"] == "failed" { break }
            let found = try await fixture.client.sandbox(sandbox.id)
            #expect(found.state == .failed)
            #expect(found.stateReason?.isEmpty == false)
            #expect(fixture.machineDirectories().isEmpty)
        }
    }

    @Test func `an orderly end leaves sandboxes running and pools empty`() async throws {
        try await DaemonFixture.with(["--pool-warm", "2", "--pool-shells", "1"]) { fixture in
            let sandbox = try await fixture.create()
            fixture.stop()
            #expect(fixture.machines().count == 1)
            try await fixture.start()
            #expect(try await fixture.output(sandbox, "echo up") == "up")
        }
    }
}
