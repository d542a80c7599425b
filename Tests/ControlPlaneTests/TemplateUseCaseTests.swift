import MartletAPI
import SandboxModel
import Testing

@testable import ControlPlane

@Suite("Templates and builds")
struct TemplateUseCaseTests {
    private func follow(_ fixture: PlaneFixture, _ build: TemplateBuild) async throws -> [TemplateBuild] {
        var lines: [TemplateBuild] = []
        try await fixture.plane.templates.follow(build.id, of: build.template, caller: .local) { lines.append($0) }
        return lines
    }

    @Test("A build tells every stage, and its end")
    func build() async throws {
        try await PlaneFixture.with { fixture in
            let templates = fixture.plane.templates
            let build = try await templates.build(BuildTemplateRequest(name: "base"), caller: .local)
            // So small a one may be over already.
            #expect(["running", "succeeded"].contains(build.state))
            let lines = try await follow(fixture, build)
            #expect(lines.map(\.stage).filter { $0 != "queued" } == ["root", "kernel", "capture", "capture"])
            #expect(lines.last?.state == "succeeded")
            #expect(try templates.build(build.id, of: "base", caller: .local).state == "succeeded")
            // Who comes late gets the same.
            #expect(try await follow(fixture, build).count == lines.count)
            let next = try await templates.build(BuildTemplateRequest(name: "base"), caller: .local)
            #expect(next.id != build.id)
        }
    }

    @Test("A build that fails keeps its error")
    func failure() async throws {
        try await PlaneFixture.with { fixture in
            let build = try await fixture.plane.templates.build(BuildTemplateRequest(name: "other"), caller: .local)
            let lines = try await follow(fixture, build)
            #expect(lines.last?.state == "failed")
            #expect(lines.last?.error?.code == "unavailable")
        }
    }

    @Test("Only an administrator builds and removes; unknown templates are told of")
    func permissions() async throws {
        try await PlaneFixture.with { fixture in
            let templates = fixture.plane.templates
            let user = Caller(keyID: "k", isAdmin: false)
            let denied = await #expect(throws: MartletError.self) {
                try await templates.build(BuildTemplateRequest(name: "base"), caller: user)
            }
            #expect(denied?.code == .permissionDenied)
            await #expect(throws: MartletError.self) { try await templates.remove("base", caller: user) }
            let unknown = await #expect(throws: MartletError.self) {
                try await templates.build(BuildTemplateRequest(name: "nope"), caller: .local)
            }
            #expect(unknown?.code == .notFound)
            try await templates.remove("base", caller: .local)
            #expect(fixture.node.removedTemplates == ["base"])
        }
    }
}
