import ControlStore
import MartletAPI
import Node
import SandboxModel
import Testing

@testable import ControlPlane

@Suite("Pause and resume")
struct PauseTests {
    @Test("A paused sandbox is kept without a deadline and goes on when resumed")
    func cycle() async throws {
        try await PlaneFixture.with { fixture in
            let sandboxes = fixture.plane.sandboxes
            let made = try await fixture.create(CreateSandboxRequest(name: "web", timeoutSeconds: 60))
            let paused = try await sandboxes.pause("web", caller: .local)
            #expect(paused.state == .paused)
            #expect(paused.expiresAt == nil)
            #expect(paused.pausedAt == paused.capture?.capturedAt)
            #expect(paused.capture?.pauseMilliseconds == 3.5)
            #expect(paused.capture?.memoryBytes == 4096)
            let stored = try #require(try await fixture.store.sandboxes().first)
            #expect(stored.state == .paused)
            #expect(stored.capture?.phases == ["pages": 2.5])
            let refused = await #expect(throws: MartletError.self) { try await fixture.exec(made.id) }
            #expect(refused?.code == .failedPrecondition)
            #expect(refused?.message.contains("/resume") == true)
            #expect(await code { try await sandboxes.pause("web", caller: .local) } == .failedPrecondition)
            #expect(await code { try await fixture.create(CreateSandboxRequest(name: "web")) } == .conflict)

            let changed = try await sandboxes.update(
                "web", UpdateSandboxRequest(timeoutSeconds: 900, metadata: ["a": "b"]), caller: .local)
            #expect(changed.expiresAt == nil)
            let before = Timestamp.now
            let resumed = try await sandboxes.resume("web", ResumeSandboxRequest(), caller: .local)
            #expect(resumed.state == .running)
            #expect(resumed.pausedAt == nil)
            #expect(resumed.capture == nil)
            #expect(resumed.create?.mode == .restored)
            #expect(resumed.metadata == ["a": "b"])
            #expect(try #require(resumed.expiresAt) >= before.adding(seconds: 900))
            #expect(try await fixture.store.sandboxes().first?.state == .running)
            #expect(try await fixture.exec(made.id, "echo back").stdout == "back\n")
        }
    }

    @Test("A running sandbox cannot be resumed from memory, but rebooted from its disk")
    func reboot() async throws {
        try await PlaneFixture.with { fixture in
            let made = try await fixture.create()
            let sandboxes = fixture.plane.sandboxes
            let error = await #expect(throws: MartletError.self) {
                try await sandboxes.resume(made.id, ResumeSandboxRequest(), caller: .local)
            }
            #expect(error?.code == .failedPrecondition)
            #expect(error?.message.contains("it runs") == true)
            let booted = try await sandboxes.resume(
                made.id, ResumeSandboxRequest(from: .disk, timeoutSeconds: 77), caller: .local)
            #expect(booted.create?.mode == .booted)
            #expect(booted.state == .running)
            #expect(try await fixture.store.sandboxes().first?.timeoutSeconds == 77)
            #expect(
                await code {
                    try await sandboxes.resume(made.id, ResumeSandboxRequest(timeoutSeconds: 0), caller: .local)
                } == .invalidArgument)
        }
    }

    @Test("What fails leaves the sandbox as it was, by the node's word")
    func failures() async throws {
        try await PlaneFixture.with { fixture in
            let made = try await fixture.create()
            let sandboxes = fixture.plane.sandboxes
            fixture.node.fail(.pause, MartletError(.resourceExhausted, "pause: the disk is full"))
            #expect(await code { try await sandboxes.pause(made.id, caller: .local) } == .resourceExhausted)
            #expect(try fixture.sandbox(made.id).state == .running)
            #expect(try await fixture.exec(made.id).exitCode == 0)
            fixture.node.fail(.pause, nil)
            _ = try await sandboxes.pause(made.id, caller: .local)
            fixture.node.fail(.resume, MartletError(.unavailable, "resume: the guest does not answer"))
            #expect(await code { try await sandboxes.resume(made.id, .init(), caller: .local) } == .unavailable)
            #expect(try fixture.sandbox(made.id).state == .paused)
            fixture.node.fail(.resume, nil)
            #expect(try await sandboxes.resume(made.id, .init(), caller: .local).state == .running)
        }
    }

    @Test("A machine that dies while it is paused leaves a failed sandbox; one that ends on purpose does not")
    func endings() async throws {
        try await PlaneFixture.with { fixture in
            let sandboxes = fixture.plane.sandboxes
            let kept = try await fixture.create()
            let keptID = try #require(SandboxID(rawValue: kept.id))
            fixture.node.hold(.pause) { fixture.node.announceEnd(keptID, reason: "its machine ended") }
            _ = try await sandboxes.pause(kept.id, caller: .local)
            fixture.node.hold(.pause, nil)
            #expect(try await sandboxes.resume(kept.id, .init(), caller: .local).state == .running)
            #expect(try await fixture.exec(kept.id).exitCode == 0)

            let lost = try await fixture.create()
            let lostID = try #require(SandboxID(rawValue: lost.id))
            fixture.node.hold(.pause) { fixture.node.crash(lostID, reason: "killed") }
            #expect(await code { try await sandboxes.pause(lost.id, caller: .local) } == .notFound)
            #expect(try fixture.sandbox(lost.id).state == .failed)
        }
    }

    @Test("A step that is under way is waited for: by a resume, by a request, by a delete")
    func waiting() async throws {
        try await PlaneFixture.with { fixture in
            let sandboxes = fixture.plane.sandboxes
            let made = try await fixture.create()
            let (begun, gate) = (Latch(), Latch())
            fixture.node.hold(.pause) {
                begun.open()
                try? await gate.wait()
            }
            async let paused = sandboxes.pause(made.id, caller: .local)
            try await begun.wait()
            #expect(try fixture.sandbox(made.id).state == .pausing)
            async let resumed = sandboxes.resume(made.id, .init(), caller: .local)
            gate.open()
            #expect(try await paused.state == .paused)
            #expect(try await resumed.state == .running)

            let (begunAgain, secondGate) = (Latch(), Latch())
            fixture.node.hold(.pause) {
                begunAgain.open()
                try? await secondGate.wait()
            }
            async let pausedAgain = sandboxes.pause(made.id, caller: .local)
            try await begunAgain.wait()
            async let refused = code { try await fixture.exec(made.id) }
            async let deleted: Void = sandboxes.delete(made.id, caller: .local)
            secondGate.open()
            #expect(try await pausedAgain.state == .paused)
            try await deleted
            let outcome = await refused
            #expect(outcome == .failedPrecondition || outcome == .notFound)
            #expect(await fixture.node.sandboxes().isEmpty)
            #expect(try await fixture.store.sandboxes().isEmpty)
        }
    }

    @Test("At its time-out it pauses itself, and is resumed once for all who need it")
    func automatic() async throws {
        try await PlaneFixture.with { fixture in
            let made = try await fixture.create(CreateSandboxRequest(timeoutSeconds: 1, onTimeout: .pause))
            try await fixture.waitForEvent(made.id, kind: "auto_paused")
            #expect(try fixture.sandbox(made.id).state == .paused)
            // Long enough not to be over while the test goes on.
            _ = try await fixture.plane.sandboxes.update(
                made.id, UpdateSandboxRequest(timeoutSeconds: 600), caller: .local)
            let codes = try await withThrowingTaskGroup(of: Int32.self) { group in
                for _ in 0..<8 { group.addTask { try await fixture.exec(made.id).exitCode } }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(codes == [Int32](repeating: 0, count: 8))
            #expect(fixture.node.count(.resume) == 1)
            try await fixture.waitForEvent(made.id, kind: "auto_resumed")
            // One that is paused on request goes on by itself too; one that is killed at its time-out does not.
            _ = try await fixture.plane.sandboxes.pause(made.id, caller: .local)
            _ = try await fixture.plane.files.stat(made.id, path: "/", caller: .local)
            #expect(fixture.node.count(.resume) == 2)
            _ = try await fixture.plane.sandboxes.update(
                made.id, UpdateSandboxRequest(onTimeout: .kill), caller: .local)
            _ = try await fixture.plane.sandboxes.pause(made.id, caller: .local)
            #expect(await code { try await fixture.exec(made.id) } == .failedPrecondition)
        }
    }

    @Test("When it cannot be resumed, all who wait hear why and nobody tries again for them")
    func failedWake() async throws {
        try await PlaneFixture.with { fixture in
            let made = try await fixture.create(CreateSandboxRequest(onTimeout: .pause))
            _ = try await fixture.plane.sandboxes.pause(made.id, caller: .local)
            let (begun, gate) = (Latch(), Latch())
            fixture.node.hold(.resume) {
                begun.open()
                try? await gate.wait()
            }
            fixture.node.fail(.resume, MartletError(.resourceExhausted, "resume: no memory"))
            let id = try #require(SandboxID(rawValue: made.id))
            await withTaskGroup(of: MartletError.Code?.self) { group in
                group.addTask { await code { try await fixture.plane.sandboxes.wake(id) } }
                try? await begun.wait()
                for _ in 0..<4 { group.addTask { await code { try await fixture.plane.sandboxes.wake(id) } } }
                // Those four join in before the first is let go on: they are started while its gate is closed.
                for _ in 0..<100 { await Task.yield() }
                gate.open()
                for await outcome in group { #expect(outcome == .resourceExhausted) }
            }
            #expect(try fixture.sandbox(made.id).state == .paused)
        }
    }

    @Test("One that cannot be paused at its time-out runs on and is tried again")
    func failedAutomatic() async throws {
        try await PlaneFixture.with(configure: { $0.pauseRetrySeconds = 1 }) { fixture in
            fixture.node.fail(.pause, MartletError(.resourceExhausted, "pause: the disk is full"))
            let made = try await fixture.create(CreateSandboxRequest(timeoutSeconds: 1, onTimeout: .pause))
            try await fixture.waitForEvent(made.id, kind: "pause_failed")
            #expect(try await fixture.exec(made.id).exitCode == 0)
            fixture.node.fail(.pause, nil)
            try await fixture.waitForEvent(made.id, kind: "auto_paused")
            #expect(await fixture.node.sandboxes().map(\.state) == [.paused])
        }
    }

    @Test("Whatever is asked at once, every answer is one of those promised, and nothing is left after the end")
    func everythingAtOnce() async throws {
        try await PlaneFixture.with { fixture in
            let (sandboxes, snapshots) = (fixture.plane.sandboxes, fixture.plane.snapshots)
            let made = try await fixture.create(CreateSandboxRequest(onTimeout: .pause, record: true))
            let codes = await withTaskGroup(of: MartletError.Code?.self) { group in
                for round in 0..<6 {
                    group.addTask { await code { try await sandboxes.pause(made.id, caller: .local) } }
                    group.addTask { await code { try await fixture.exec(made.id) } }
                    group.addTask { await code { try await sandboxes.resume(made.id, .init(), caller: .local) } }
                    group.addTask {
                        await code { try await snapshots.rewind(made.id, RewindRequest(to: 0), caller: .local) }
                    }
                    group.addTask {
                        await code { try await snapshots.fork(sandbox: made.id, .init(count: 2), caller: .local) }
                    }
                    if round == 4 {
                        group.addTask { await code { try await sandboxes.delete(made.id, caller: .local) } }
                    }
                }
                return await group.reduce(into: Set<MartletError.Code>()) { codes, code in
                    if let code { codes.insert(code) }
                }
            }
            #expect(codes.isSubset(of: [.failedPrecondition, .notFound, .unavailable]), "\(codes)")
            #expect(await code { try fixture.sandbox(made.id) } == .notFound)
            for child in try sandboxes.list(SandboxFilter(limit: 100), caller: .local).items {
                try await sandboxes.delete(child.id, caller: .local)
            }
            #expect(await fixture.node.sandboxes().isEmpty)
            #expect(fixture.node.snapshotIDs.isEmpty)
            let (left, kept) = (try await fixture.store.sandboxes(), try await fixture.store.snapshots())
            #expect(left.isEmpty && kept.isEmpty)
        }
    }

    @Test("Paused sandboxes count for their key's limit, and are deleted like others")
    func limit() async throws {
        try await PlaneFixture.with(configure: { $0.maxSandboxesPerKey = 1 }) { fixture in
            let caller = try await fixture.user()
            let sandboxes = fixture.plane.sandboxes
            let made = try await sandboxes.create(.init(), idempotencyKey: nil, caller: caller)
            _ = try await sandboxes.pause(made.id, caller: caller)
            #expect(
                await code { try await sandboxes.create(.init(), idempotencyKey: nil, caller: caller) }
                    == .resourceExhausted)
            let stranger = try await fixture.user("stranger")
            #expect(await code { try await sandboxes.resume(made.id, .init(), caller: stranger) } == .notFound)
            #expect(await code { try await sandboxes.pause(made.id, caller: stranger) } == .notFound)
            try await sandboxes.delete(made.id, caller: caller)
            #expect(await fixture.node.sandboxes().isEmpty)
            _ = try await sandboxes.create(.init(), idempotencyKey: nil, caller: caller)
        }
    }
}
