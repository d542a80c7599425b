import HTTPTypes
import MartletAPI
import SandboxModel
import Testing

@testable import Server

@Suite("Host, templates and documents over HTTP")
struct HostRouteTests {
    @Test("The host tells its engines and pools")
    func host() async throws {
        try await ServerFixture.with { fixture in
            try await fixture.routed { client in
                let host = try await client.call(.get, "/v1/host").json(HostResource.self)
                #expect(host.version == "test")
                #expect(host.engines.map(\.name) == ["test", "firecracker"])
                #expect(host.engines[1].reason == "not installed")
                #expect(host.pools.map(\.warm) == [2])
            }
        }
    }

    @Test("Templates are listed, built and followed")
    func templates() async throws {
        try await ServerFixture.with { fixture in
            try await fixture.routed { client in
                let list = try await client.call(.get, "/v1/templates").json(Page<TemplateResource>.self)
                #expect(list.items.map(\.name) == ["base", "other"])
                #expect(try await client.call(.get, "/v1/templates/nope").status == 404)
                let started = try await client.call(.post, "/v1/templates", #"{"name":"base"}"#)
                #expect(started.status == 202)
                let path = try #require(started.headers[.location])
                let events = try await client.call(.get, "\(path)/logs").events
                #expect(events.last?.name == "done")
                #expect(events.dropLast().allSatisfy { $0.name == "progress" })
                #expect(try await client.call(.get, path).json(TemplateBuild.self).state == "succeeded")
                #expect(try await client.call(.get, "/v1/templates/base/builds/nope").status == 404)
                #expect(try await client.call(.delete, "/v1/templates/base").status == 204)
            }
        }
    }

    @Test("Metrics are counted by route pattern, never by id")
    func metrics() async throws {
        try await ServerFixture.with { fixture in
            let id = try await fixture.create()
            try await fixture.routed { client in
                _ = try await client.call(.get, "/v1/sandboxes/\(id)")
                _ = try await client.call(.post, "/v1/sandboxes/\(id)/exec", #"{"cmd":"true"}"#)
                let text = try await client.call(.get, "/metrics").text
                #expect(text.contains("# TYPE sandbox_create_duration_seconds histogram"))
                #expect(text.contains(#"sandbox_create_duration_seconds_count{backend="test",phase="total"}"#))
                #expect(text.contains(#"exec_total{outcome="succeeded"}"#))
                #expect(text.contains(#"sandboxes{state="running"} 1"#))
                #expect(text.contains(#"route="/v1/sandboxes/{id}""#))
                #expect(text.contains(#"pool_slots{kind="warm",state="target"} 3"#))
                #expect(!text.contains(id))
            }
        }
    }

    @Test("The page lists every endpoint and loads nothing")
    func docs() async throws {
        try await ServerFixture.with { fixture in
            try await fixture.routed { client in
                let page = try await client.call(.get, "/docs")
                for endpoint in fixture.server.endpoints {
                    #expect(page.text.contains("<code>\(endpoint.path)</code>"), "\(endpoint.path)")
                }
                #expect(!page.text.contains("<script"))
                #expect(!page.text.contains("src="))
            }
        }
    }

    @Test("openapi.yaml is the file, or 404 where it is not installed")
    func openAPI() async throws {
        let path = OpenAPIDocument.path
        try await ServerFixture.with(configure: { $0.openAPIPath = path }) { fixture in
            try await fixture.routed { client in
                let answer = try await client.call(.get, "/openapi.yaml")
                #expect(answer.status == 200)
                #expect(answer.text.hasPrefix("openapi: 3.1.0\n"))
            }
        }
        try await ServerFixture.with(configure: { $0.openAPIPath = "/no/such/file" }) { fixture in
            try await fixture.routed { client in
                let answer = try await client.call(.get, "/openapi.yaml")
                #expect(answer.status == 404)
            }
        }
    }
}
