import Foundation
import Glibc
import GuestClient
import Node
import SandboxModel
import Testing

/// What goes wrong on the way takes nothing else with it, and leaves nothing half-made.
@Suite(.serialized, .requiresTemplate, .timeLimit(.minutes(5))) struct InterruptionTests {
    @Test func `children that cannot be made do not take the others with them`() async throws {
        try await NodeFixture.with(maxSandboxes: 4) { fixture in
            let parent = try await fixture.create()
            _ = try await fixture.shell("echo here > /run/here", in: parent)
            let specs = (0..<6).map { ForkSpec(id: .random(), hostname: "child-\($0)") }
            let outcome = try await fixture.node.fork(.sandbox(parent.id), into: specs)
            #expect(outcome.children.count == 6)
            var made: [NodeSandbox] = []
            for (spec, result) in zip(specs, outcome.children) {
                switch result {
                case .success(let child):
                    #expect(child.id == spec.id)
                    #expect(try await fixture.output(of: "hostname", in: child) == spec.hostname)
                    #expect(try await fixture.output(of: "cat", "/run/here", in: child) == "here")
                    made.append(child)
                case .failure(let error):
                    #expect(error.code == .resourceExhausted && error.details["limit"] == "host", "\(error)")
                }
            }
            #expect(made.count == 3)
            // A paused one gives its place up, and needs one to go on.
            _ = try await fixture.node.pause(parent.id)
            made += try await fixture.fork(.sandbox(parent.id))
            let error = await #expect(throws: MartletError.self) {
                try await fixture.node.resume(parent.id, from: .memory, network: .closed)
            }
            #expect(error?.code == .resourceExhausted)
            try await fixture.destroy(made)
            _ = try await fixture.node.resume(parent.id, from: .memory, network: .closed)
            #expect(try await fixture.output(of: "cat", "/run/here", in: parent) == "here")
            try await fixture.destroy(parent)
        }
    }

    @Test func `a snapshot that is still being written out is used and removed like any other`() async throws {
        try await NodeFixture.with { fixture in
            let sandbox = try await fixture.create()
            // Enough to write that it is under way for a while.
            _ = try await fixture.shell(
                "head -c 30000000 /dev/urandom > /run/much; sha256sum < /run/much > /run/sum", in: sandbox)
            let ids = (0..<4).map { _ in SnapshotID.random() }
            for id in ids {
                _ = try await fixture.node.snapshot(sandbox.id, as: SnapshotSpec(id: id, isSealedLater: true))
            }
            #expect(Set(await fixture.node.snapshots().map(\.id)) == Set(ids))
            async let children = fixture.fork(.snapshot(ids[3]), 2)
            try await fixture.node.removeSnapshot(ids[0])
            let back = try await fixture.node.rewind(sandbox.id, to: ids[2], network: .closed)
            for sandbox in try await children + [back] {
                #expect(
                    try await fixture.shell("sha256sum < /run/much | cmp - /run/sum && echo same", in: sandbox)
                        == "same")
            }
            try await fixture.destroy(try await children + [back])
            for id in ids.dropFirst() { try await fixture.node.removeSnapshot(id) }
            #expect(fixture.list("snapshots").isEmpty && fixture.list("staging").isEmpty)
            #expect(await fixture.node.snapshots().isEmpty)
        }
    }

    private enum Change: String, CaseIterable {
        case pause, fork, resume, snapshot, boot
    }

    @Test(arguments: [0, 3, 15, 60, 200]) func `a sandbox removed in the middle of anything leaves nothing`(
        milliseconds: Int
    ) async throws {
        try await NodeFixture.with { fixture in
            // A boot is not cut short, only waited for: once is enough.
            for change in Change.allCases where change != .boot || milliseconds == 15 {
                let sandbox = try await fixture.create()
                let (child, snapshot) = (SandboxID.random(), SnapshotID.random())
                if change == .resume { _ = try await fixture.node.pause(sandbox.id) }
                async let outcome: Void = {
                    switch change {
                    case .pause: _ = try await fixture.node.pause(sandbox.id)
                    case .resume: _ = try await fixture.node.resume(sandbox.id, from: .memory, network: .closed)
                    case .boot: _ = try await fixture.node.resume(sandbox.id, from: .disk, network: .closed)
                    case .snapshot: _ = try await fixture.node.snapshot(sandbox.id, as: SnapshotSpec(id: snapshot))
                    case .fork:
                        _ = try await fixture.node.fork(
                            .sandbox(sandbox.id), into: [ForkSpec(id: child, hostname: "child")])
                    }
                }()
                // Not waiting for anything: it is to be cut off wherever it happens to be.
                try await Task.sleep(for: .milliseconds(milliseconds))
                try await fixture.node.destroy(sandbox.id)
                _ = try? await outcome
                // A child or a snapshot that was complete by then is a thing of its own.
                try? await fixture.node.destroy(child)
                try? await fixture.node.removeSnapshot(snapshot)
                #expect(await fixture.node.sandboxes().isEmpty, "\(change)")
                #expect(await fixture.node.snapshots().isEmpty, "\(change)")
                for folder in ["machines", "paused", "snapshots", "staging"] {
                    let isEmpty = await fixture.eventually { fixture.list(folder).isEmpty }
                    #expect(isEmpty, "\(change) after \(milliseconds) ms left \(fixture.list(folder)) in \(folder)")
                }
                #expect(await NodeFixture.emulators(in: fixture.directory).isEmpty, "\(change)")
            }
        }
    }

    @Test(.enabled(if: geteuid() == 0, "needs to be root, to mount a small file system"))
    func `a capture that finds the disk full is not there, and the sandbox goes on`() async throws {
        try await NodeFixture.with { fixture in
            let sandbox = try await fixture.create()
            try await fixture.startResident(
                """
                count = 0
                def answer(question):
                    global count
                    count += 1
                    return count
                """, in: sandbox)
            let staging = "\(fixture.directory)/staging"
            guard mount("tmpfs", staging, "tmpfs", UInt(MS_NOSUID), "size=1m") == 0 else {
                print("skipped: mounting is not permitted here")
                return try await fixture.destroy(sandbox)
            }
            defer { umount2(staging, Int32(MNT_DETACH)) }
            for attempt in 2...4 {
                let error = await #expect(throws: MartletError.self) {
                    switch attempt {
                    case 2: _ = try await fixture.node.pause(sandbox.id)
                    case 3: _ = try await fixture.node.snapshot(sandbox.id, as: SnapshotSpec(id: .random()))
                    default: _ = try await fixture.fork(.sandbox(sandbox.id))
                    }
                }
                #expect(error?.code == .resourceExhausted, "\(String(describing: error))")
                #expect(await fixture.node.sandboxes().map(\.state) == [.running])
                #expect(try await fixture.ask("count", in: sandbox) == "\(attempt - 1)", "the sandbox did not go on")
                #expect(fixture.list("staging").isEmpty && fixture.list("paused").isEmpty)
                #expect(fixture.list("snapshots").isEmpty)
            }
            #expect(await fixture.node.snapshots().isEmpty)
            umount2(staging, Int32(MNT_DETACH))
            let child = try await fixture.fork(.sandbox(sandbox.id))[0]
            #expect(try await fixture.ask("count", in: child) == "4")
            _ = try await fixture.node.pause(sandbox.id)
            let resumed = try await fixture.node.resume(sandbox.id, from: .memory, network: .closed)
            #expect(try await fixture.ask("count", in: resumed) == "4")
            try await fixture.destroy(child, resumed)
        }
    }
}
