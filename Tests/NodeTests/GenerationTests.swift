import Foundation
import GuestClient
import GuestProtocol
import Node
import SandboxModel
import Testing

/// Hazard 9: forks of running, paused and named; forks of forks.
@Suite(.serialized, .requiresTemplate, .timeLimit(.minutes(10))) struct GenerationTests {
    /// Remembers what it is told.
    private static let memory = """
        told = []
        def answer(question):
            if question != 'recall': told.append(question)
            return ' '.join(told)
        """

    /// Adds a generation's line to the memory and a file to the disk.
    private static func mark(_ sandbox: NodeSandbox, _ generation: Int, _ fixture: NodeFixture) async throws {
        _ = try await fixture.ask("\(generation)", in: sandbox)
        _ = try await fixture.shell("mkdir -p /root/marks; echo \(generation) > /root/marks/\(generation)", in: sandbox)
    }

    /// What a sandbox's ancestors left in its memory, and on its disk.
    private static func marks(_ sandbox: NodeSandbox, _ fixture: NodeFixture) async throws -> [String] {
        _ = try await fixture.shell("sync; echo 3 > /proc/sys/vm/drop_caches", in: sandbox)
        return [
            try await fixture.ask("recall", in: sandbox),
            try await fixture.shell("cat $(ls -v /root/marks/*) | xargs", in: sandbox),
        ]
    }

    private static func expected(_ generations: ClosedRange<Int>) -> [String] {
        let line = generations.map(String.init).joined(separator: " ")
        return [line, line]
    }

    @Test func `six generations each have what all of their ancestors left, and nothing of their children`()
        async throws
    {
        try await NodeFixture.with { fixture in
            var family = [try await fixture.create()]
            try await fixture.startResident(GenerationTests.memory, in: family[0])
            for generation in 1...6 {
                try await GenerationTests.mark(family[generation - 1], generation, fixture)
                family += try await fixture.fork(.sandbox(family[generation - 1].id))
            }
            for (index, sandbox) in family.enumerated() {
                let found = try await GenerationTests.marks(sandbox, fixture)
                #expect(found == GenerationTests.expected(1...min(index + 1, 6)), "generation \(index)")
            }
            try await fixture.destroy(family)
        }
    }

    @Test func `the hundredth generation has all its ancestors left, on few layers`() async throws {
        try await NodeFixture.with { fixture in
            var sandbox = try await fixture.create()
            try await fixture.startResident(GenerationTests.memory, in: sandbox)
            for generation in 1...100 {
                try await GenerationTests.mark(sandbox, generation, fixture)
                let child = try await fixture.fork(.sandbox(sandbox.id))[0]
                try await fixture.destroy(sandbox)
                sandbox = child
                guard generation % 20 == 0 else { continue }
                #expect(
                    try await GenerationTests.marks(sandbox, fixture) == GenerationTests.expected(1...generation))
                #expect(fixture.layers() < 24, "\(fixture.layers()) layers in generation \(generation)")
            }
            try await fixture.destroy(sandbox)
        }
    }

    @Test func `a paused sandbox is forked as it is, and stays paused`() async throws {
        try await NodeFixture.with { fixture in
            let parent = try await fixture.create()
            try await fixture.startResident(GenerationTests.memory, in: parent)
            try await GenerationTests.mark(parent, 1, fixture)
            let report = try await fixture.node.pause(parent.id)
            let outcome = try await fixture.node.fork(
                .sandbox(parent.id), into: (0..<2).map { ForkSpec(id: .random(), hostname: "child-\($0)") })
            // The instant is that of the pause, and nobody was held up for this.
            #expect(outcome.report.capturedAt == report.capturedAt && outcome.report.pauseMilliseconds == 0)
            let children = try outcome.children.map { try $0.get() }
            try await GenerationTests.mark(children[0], 2, fixture)
            #expect(try await GenerationTests.marks(children[0], fixture) == GenerationTests.expected(1...2))
            #expect(try await GenerationTests.marks(children[1], fixture) == GenerationTests.expected(1...1))
            #expect(await fixture.node.sandboxes().first { $0.id == parent.id }?.state == .paused)
            let snapshot = try await fixture.node.snapshot(parent.id, as: SnapshotSpec(id: .random()))
            #expect(snapshot.report.capturedAt == report.capturedAt)
            let resumed = try await fixture.node.resume(parent.id, from: .memory, network: .closed)
            try await GenerationTests.mark(resumed, 2, fixture)
            #expect(try await GenerationTests.marks(resumed, fixture) == GenerationTests.expected(1...2))
            let named = try await fixture.fork(.snapshot(snapshot.id))[0]
            #expect(try await GenerationTests.marks(named, fixture) == GenerationTests.expected(1...1))
            // Back to before the second line, while paused.
            _ = try await fixture.node.pause(parent.id)
            let back = try await fixture.node.rewind(parent.id, to: snapshot.id, network: .closed)
            #expect(try await GenerationTests.marks(back, fixture) == GenerationTests.expected(1...1))
            await #expect(throws: MartletError.self) {
                try await fixture.node.rewind(children[0].id, to: snapshot.id, network: .closed)
            }
            try await fixture.node.removeSnapshot(snapshot.id)
            // What stands on a snapshot that is gone has all it needs.
            let grandchild = try await fixture.fork(.sandbox(named.id))[0]
            #expect(try await GenerationTests.marks(grandchild, fixture) == GenerationTests.expected(1...1))
            try await fixture.destroy(children + [named, grandchild, parent])
        }
    }

    @Test func `children share what they have in common`() async throws {
        try await NodeFixture.with { fixture in
            let parent = try await fixture.create()
            _ = try await fixture.output(of: "python3", "-c", "print(1)", in: parent)
            let children = try await fixture.fork(.sandbox(parent.id), 2)
            for child in children {
                let memory = try await fixture.node.memory(of: child.id)
                #expect(memory.private < 30 << 20, "\(memory.private >> 20) MiB are a child's own")
                #expect(memory.private > 1 << 20)
            }
            try await fixture.destroy(children + [parent])
        }
    }
}
