import MartletAPI
import SandboxModel

extension MartletClient {
    /// All templates of the server, built or not.
    public func templates() async throws -> [TemplateResource] {
        let page: Page<TemplateResource> = try await transport.json(APICall(.GET, "v1", "templates"))
        return page.items
    }

    /// One template.
    public func template(_ name: String) async throws -> TemplateResource {
        try await transport.json(APICall(.GET, "v1", "templates", name))
    }

    /// Begins to build a template, or joins the build that is under way.
    public func buildTemplate(_ request: BuildTemplateRequest) async throws -> TemplateBuild {
        try await transport.json(try transport.with(request, APICall(.POST, "v1", "templates")))
    }

    /// How a build stands.
    public func templateBuild(_ template: String, _ build: String) async throws -> TemplateBuild {
        try await transport.json(APICall(.GET, "v1", "templates", template, "builds", build))
    }

    /// How a build goes on, step by step, up to its end.
    public func templateBuildEvents(_ template: String, _ build: String) -> APIEventStream<TemplateBuild> {
        APIEventStream(transport, APICall(.GET, "v1", "templates", template, "builds", build, "logs"))
    }

    /// Removes what was built of a template.
    ///
    /// - Throws: `conflict` while a sandbox uses it.
    public func deleteTemplate(_ name: String) async throws {
        try await transport.perform(APICall(.DELETE, "v1", "templates", name))
    }
}
