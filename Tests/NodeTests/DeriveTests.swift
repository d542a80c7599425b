import Foundation
import GuestClient
import GuestProtocol
import SandboxModel
import Testing

@testable import Node

/// Templates made of what a sandbox's disk has become, on real machines.
@Suite(.serialized, .requiresTemplate, .timeLimit(.minutes(5))) struct DeriveTests {
    private func draft(
        _ source: TemplateDraft.Source, parent: String = "base", environment: [String: String] = [:]
    ) -> TemplateDraft {
        let name = UUID().uuidString.lowercased()
        return TemplateDraft(
            name: name, source: source, parent: parent,
            derivation: TemplateDerivation(
                owner: nil, template: "t1", name: "test", tags: [:], recipe: name, parent: parent,
                environment: environment))
    }

    /// Runs `body` beside a node with images that are nobody else's.
    private func with(_ body: @escaping @Sendable (NodeFixture, String) async throws -> Void) async throws {
        try await NodeFixture.withDirectory { directory in
            let images = directory + "/images"
            try FileManager.default.linkItem(atPath: NodeFixture.imagesDirectory, toPath: images)
            try await NodeFixture.live(in: directory, images: images) { try await body($0, images) }
        }
    }

    private func names(_ path: String) -> Set<String> {
        Set((try? FileManager.default.contentsOfDirectory(atPath: path)) ?? [])
    }

    @Test func `a sandbox's disk becomes a template, with a service that is captured running`() async throws {
        try await with { fixture, images in
            let before = names(images + "/roots")
            let sandbox = try await fixture.create(diskMiB: 5120)
            _ = try await fixture.shell("echo kept > /root/file; echo lost > /run/file", in: sandbox)
            var draft = draft(.sandbox(sandbox.id), environment: ["GREETING": "hello"])
            draft.memoryMiB = 320
            draft.service = TemplateService(
                name: "start", command: ["/bin/sh", "-c", "echo run >> /root/runs; exec sleep 100000"],
                readiness: .command(["test", "-e", "/root/runs"]), runsOnce: true)
            let made = try await fixture.node.deriveTemplate(draft) { _ in }
            #expect(made.state == "ready" && made.derivation == draft.derivation && made.memoryMiB == 320)
            #expect(made.diskMiB == 5120 && made.captures == 1)
            #expect(await fixture.node.sandboxes().isEmpty)
            #expect(fixture.list("staging").isEmpty)
            let first = try await fixture.create(draft.name)
            let second = try await fixture.create(draft.name)
            #expect(first.report.mode == .cold)
            for child in [first, second] {
                let told = try await fixture.shell(
                    "cat /root/file /root/runs; echo $GREETING; ls /run/file 2>/dev/null; pgrep -c sleep", in: child)
                #expect(told == "kept\nrun\nhello\n1")
            }
            await #expect(throws: MartletError.self) { try await fixture.node.removeTemplate(draft.name) }
            try await fixture.destroy(first, second)

            // Out of that one another, whose disk is the same.
            let copy = self.draft(.template, parent: draft.name)
            #expect(try await fixture.node.deriveTemplate(copy) { _ in }.state == "ready")
            let third = try await fixture.create(copy.name)
            #expect(
                try await fixture.shell("cat /root/file /root/runs; echo $GREETING", in: third) == "kept\nrun\nhello")
            try await fixture.destroy(third)
            for name in [draft.name, copy.name] { try await fixture.node.removeTemplate(name) }
            #expect(names(images + "/roots") == before)
            #expect(try await fixture.node.templates().allSatisfy { $0.derivation == nil || $0.name != draft.name })
        }
    }

    @Test func `one whose service does not come up leaves nothing`() async throws {
        try await with { fixture, images in
            let sandbox = try await fixture.create()
            let (roots, captures) = (names(images + "/roots"), names(images + "/captures"))
            _ = try await fixture.shell("echo x > /root/file", in: sandbox)
            var draft = draft(.sandbox(sandbox.id))
            draft.service = TemplateService(
                name: "start", command: ["/bin/sh", "-c", "echo sorry; exit 3"], readiness: .port(1), runsOnce: true)
            let error = await #expect(throws: MartletError.self) {
                try await fixture.node.deriveTemplate(draft) { _ in }
            }
            #expect(error?.code == .failedPrecondition && error?.message.contains("sorry") == true)
            #expect(await fixture.node.sandboxes().isEmpty)
            #expect(fixture.list("staging").isEmpty && fixture.list("machines").isEmpty)
            #expect(names(images + "/roots") == roots && names(images + "/captures") == captures)
            #expect(try await !fixture.node.templates().contains { $0.name == draft.name })
        }
    }

    @Test func `a sandbox that is not there becomes none`() async throws {
        try await NodeFixture.with { fixture in
            let missing = await #expect(throws: MartletError.self) {
                try await fixture.node.deriveTemplate(draft(.sandbox(.random()))) { _ in }
            }
            #expect(missing?.code == .notFound)
        }
    }
}
