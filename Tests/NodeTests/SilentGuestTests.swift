import Foundation
import GuestClient
import GuestProtocol
import Node
import SandboxModel
import Testing

/// Hazard 10: a guest that does not answer any more.
@Suite(.serialized, .requiresTemplate, .timeLimit(.minutes(5))) struct SilentGuestTests {
    /// Crashes the guest's kernel in a way that leaves its machine running, with nobody in it to answer.
    private static func silence(_ sandbox: NodeSandbox, _ fixture: NodeFixture) async throws {
        let guest = try await fixture.node.guest(of: sandbox.id)
        _ = try await guest.start(
            StartProcess(
                arguments: ["/bin/sh", "-c", "echo 0 > /proc/sys/kernel/panic; echo c > /proc/sysrq-trigger"],
                attach: .exitOnly))
        while !String(decoding: try await fixture.node.consoleLog(of: sandbox.id), as: UTF8.self)
            .contains("end Kernel panic")
        {
            try await Task.sleep(for: .milliseconds(50))
        }
    }

    @Test func `a guest that does not answer can be paused, and booted from its disk`() async throws {
        try await NodeFixture.with { fixture in
            let sandbox = try await fixture.create()
            _ = try await fixture.shell("echo kept > /root/synced; sync", in: sandbox)
            try await SilentGuestTests.silence(sandbox, fixture)
            _ = try await fixture.node.pause(sandbox.id)
            #expect(await fixture.node.sandboxes().map(\.state) == [.paused])
            // Its memory is that of a dead kernel.
            let error = await #expect(throws: MartletError.self) {
                try await fixture.node.resume(sandbox.id, from: .memory, network: .closed)
            }
            #expect(error?.code == .unavailable || error?.code == .timeout, "\(String(describing: error))")
            #expect(await fixture.node.sandboxes().map(\.state) == [.paused])
            #expect(fixture.list("machines").isEmpty)
            let booted = try await fixture.node.resume(sandbox.id, from: .disk, network: .closed)
            #expect(try await fixture.output(of: "cat", "/root/synced", in: booted) == "kept")
            #expect(try await fixture.output(of: "hostname", in: booted) == sandbox.id.rawValue)
            #expect(await fixture.eventually { fixture.list("paused").isEmpty })
            try await fixture.destroy(booted)
        }
    }

    @Test func `a running guest that does not answer is booted from its disk at once`() async throws {
        try await NodeFixture.with { fixture in
            let sandbox = try await fixture.create()
            _ = try await fixture.shell("echo kept > /root/synced; sync", in: sandbox)
            try await SilentGuestTests.silence(sandbox, fixture)
            // A fork needs a guest that takes part; the sandbox is left as it is.
            let error = await #expect(throws: MartletError.self) { try await fixture.fork(.sandbox(sandbox.id)) }
            #expect(error?.code == .unavailable || error?.code == .timeout, "\(String(describing: error))")
            #expect(await fixture.node.sandboxes().map(\.state) == [.running])
            let booted = try await fixture.node.resume(sandbox.id, from: .disk, network: .closed)
            #expect(try await fixture.output(of: "cat", "/root/synced", in: booted) == "kept")
            #expect(fixture.list("machines").count == 1)
            let child = try await fixture.fork(.sandbox(sandbox.id))[0]
            #expect(try await fixture.output(of: "cat", "/root/synced", in: child) == "kept")
            try await fixture.destroy(booted, child)
        }
    }
}
