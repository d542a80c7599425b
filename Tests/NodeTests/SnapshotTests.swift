import Foundation
import GuestClient
import GuestProtocol
import Node
import SandboxModel
import Testing

@Suite(.serialized, .requiresTemplate, .timeLimit(.minutes(5))) struct SnapshotTests {
    @Test func `a child has its parent's memory, processes and disk, and goes its own way`() async throws {
        try await NodeFixture.with { fixture in
            let parent = try await fixture.create()
            _ = try await fixture.output(of: "/bin/sh", "-c", "echo before > /root/file; sync", in: parent)
            let guest = try await fixture.node.guest(of: parent.id)
            _ = try await guest.start(
                StartProcess(arguments: [
                    "/bin/sh", "-c", "i=0; while :; do i=$((i+1)); echo $i > /run/count; sleep 0.02; done",
                ]))
            let outcome = try await fixture.node.fork(
                .sandbox(parent.id), into: [ForkSpec(id: .random(), hostname: "child")])
            #expect(outcome.report.pauseMilliseconds > 0 && outcome.report.memoryBytes > 0)
            #expect(outcome.report.diskBytes > 0)
            #expect(Set(["hold", "stop", "state", "continue", "release"]).isSubset(of: outcome.report.phases.keys))
            let child = try outcome.children[0].get()
            #expect(child.report.mode == .restored && child.state == .running)
            #expect(try await fixture.output(of: "cat", "/root/file", in: child) == "before")
            #expect(try await fixture.output(of: "hostname", in: child) == "child")
            #expect(try await fixture.output(of: "hostname", in: parent) == parent.id.rawValue)
            let first = try await fixture.output(of: "cat", "/run/count", in: child)
            let later = try await fixture.output(of: "/bin/sh", "-c", "sleep 0.2; cat /run/count", in: child)
            #expect(Int(later)! > Int(first)!, "the child's process does not go on")
            _ = try await fixture.output(of: "/bin/sh", "-c", "echo child > /root/file", in: child)
            #expect(try await fixture.output(of: "cat", "/root/file", in: parent) == "before")
            for sandbox in [parent, child] { try await fixture.node.destroy(sandbox.id) }
        }
    }

    @Test func `a paused sandbox is nothing but files, and goes on where it was`() async throws {
        try await NodeFixture.with { fixture in
            let sandbox = try await fixture.create()
            _ = try await fixture.output(
                of: "/bin/sh", "-c", "echo kept > /run/memory; echo kept > /root/disk", in: sandbox)
            for _ in 0..<3 {
                let report = try await fixture.node.pause(sandbox.id)
                #expect(report.phases["seal"] != nil && report.memoryBytes > 0)
                #expect(await fixture.node.sandboxes().first?.state == .paused)
                let resumed = try await fixture.node.resume(sandbox.id, from: .memory, network: .closed)
                #expect(try await fixture.output(of: "cat", "/run/memory", "/root/disk", in: resumed) == "kept\nkept")
                #expect(try await fixture.output(of: "hostname", in: resumed) == sandbox.id.rawValue)
            }
            try await fixture.node.destroy(sandbox.id)
        }
    }

    @Test func `a sandbox can be booted from its disk`() async throws {
        try await NodeFixture.with { fixture in
            let sandbox = try await fixture.create(environment: ["GIVEN=yes"])
            _ = try await fixture.output(
                of: "/bin/sh", "-c", "echo lost > /run/memory; echo kept > /root/disk", in: sandbox)
            let booted = try await fixture.node.resume(sandbox.id, from: .disk, network: .closed)
            #expect(booted.report.mode == .booted)
            #expect(try await fixture.output(of: "cat", "/root/disk", in: booted) == "kept")
            #expect(
                try await fixture.output(of: "/bin/sh", "-c", "ls /run/memory 2>&1 | wc -l; echo $GIVEN", in: booted)
                    == "1\nyes")
            _ = try await fixture.node.pause(sandbox.id)
            let again = try await fixture.node.resume(sandbox.id, from: .memory, network: .closed)
            #expect(try await fixture.output(of: "cat", "/root/disk", in: again) == "kept")
            try await fixture.node.destroy(sandbox.id)
        }
    }

    @Test func `a sandbox goes back to a snapshot of it`() async throws {
        try await NodeFixture.with { fixture in
            let sandbox = try await fixture.create()
            _ = try await fixture.output(of: "/bin/sh", "-c", "echo 1 > /run/n; echo 1 > /root/n", in: sandbox)
            let snapshot = try await fixture.node.snapshot(
                sandbox.id, as: SnapshotSpec(id: .random(), isSealedLater: true))
            #expect(snapshot.sandbox == sandbox.id && snapshot.template == sandbox.template)
            #expect(await fixture.node.snapshots().map(\.id) == [snapshot.id])
            _ = try await fixture.output(of: "/bin/sh", "-c", "echo 2 > /run/n; echo 2 > /root/n", in: sandbox)
            let back = try await fixture.node.rewind(sandbox.id, to: snapshot.id, network: .closed)
            #expect(back.id == sandbox.id && back.report.mode == .restored)
            #expect(try await fixture.output(of: "cat", "/run/n", "/root/n", in: back) == "1\n1")
            try await fixture.node.destroy(sandbox.id)
            // A snapshot outlives its sandbox.
            let outcome = try await fixture.node.fork(
                .snapshot(snapshot.id), into: (0..<3).map { ForkSpec(id: .random(), hostname: "c\($0)") })
            for child in outcome.children {
                let child = try child.get()
                #expect(try await fixture.output(of: "cat", "/run/n", "/root/n", in: child) == "1\n1")
                try await fixture.node.destroy(child.id)
            }
            try await fixture.node.removeSnapshot(snapshot.id)
        }
    }
}
