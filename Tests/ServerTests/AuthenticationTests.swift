import ControlPlane
import HTTPTypes
import MartletAPI
import SandboxModel
import Testing

@testable import Server

@Suite("Who may ask")
struct AuthenticationTests {
    @Test(
        "Without a valid key there is only 401, in the documented shape, saying nothing of keys",
        arguments: [
            [:], [.authorization: "Bearer"], [.authorization: "Bearer "], [.authorization: "Bearer mk_wrong"],
            [.authorization: "Basic bWs6bWs="], [HTTPField.Name("X-API-Key")!: "mk_wrong"],
            [.authorization: "Bearer \u{FC}"],
        ] as [HTTPFields])
    func unauthenticated(headers: HTTPFields) async throws {
        try await ServerFixture.with { fixture in
            try await fixture.routed { client in
                let nobody = APIClient(client: client.client, key: nil)
                for (method, path) in [
                    (.get, "/v1/sandboxes"), (.post, "/v1/sandboxes"), (.get, "/v1/host"), (.get, "/v1/sandboxes/x"),
                ] as [(HTTPRequest.Method, String)] {
                    let answer = try await nobody.call(method, path, headers: headers)
                    #expect(answer.status == 401)
                    #expect(try answer.error().code == "unauthenticated")
                    #expect(answer.headers[.wwwAuthenticate] == nil)
                }
            }
        }
    }

    @Test("Both headers carry a key; the scheme's case does not matter")
    func headers() async throws {
        try await ServerFixture.with { fixture in
            try await fixture.routed { client in
                let nobody = APIClient(client: client.client, key: nil)
                for headers in [
                    [.authorization: "Bearer \(fixture.key)"], [.authorization: "bearer  \(fixture.key)"],
                    [HTTPField.Name("X-API-Key")!: fixture.key],
                ] as [HTTPFields] {
                    let answer = try await nobody.call(.get, "/v1/sandboxes", headers: headers)
                    #expect(answer.status == 200)
                }
            }
        }
    }

    @Test(
        "What tells nothing of tenants is open",
        arguments: ["/healthz", "/readyz", "/metrics", "/docs"])
    func open(path: String) async throws {
        try await ServerFixture.with { fixture in
            try await fixture.routed { client in
                let nobody = APIClient(client: client.client, key: nil)
                let answer = try await nobody.call(.get, path)
                #expect(answer.status == 200)
            }
        }
    }

    @Test("A stranger's sandbox is not found on any route")
    func ownership() async throws {
        try await ServerFixture.with { fixture in
            let id = try await fixture.create(CreateSandboxRequest(name: "mine"))
            let text = try await fixture.plane.keys.make(label: "stranger", isAdmin: false)
            let endpoints = fixture.server.endpoints.filter { $0.path.hasPrefix("/v1/sandboxes/{id}") }
            #expect(endpoints.count > 20)
            try await fixture.routed { client in
                let stranger = APIClient(client: client.client, key: text)
                for endpoint in endpoints {
                    let path = endpoint.path.replacing("{id}", with: id).replacing("{pid}", with: "1")
                        .replacing("{port}", with: "80")
                    let body =
                        switch endpoint.path.split(separator: "/").last {
                        case "exec", "processes": #"{"cmd":"true"}"#
                        case "stdin": #"{"close":true}"#
                        case "signal": #"{"signal":"TERM"}"#
                        case "resize": #"{"rows":1,"cols":1}"#
                        case "mkdir": #"{"path":"/x"}"#
                        case "move": #"{"from":"/x","to":"/y"}"#
                        case "rewind": #"{"to":0}"#
                        case "network": #"{"mode":"public"}"#
                        case "ports": #"{"port":80}"#
                        default: "{}"
                        }
                    let hasPath = endpoint.path.contains("/files") && endpoint.method != .post
                    let answer = try await stranger.call(
                        endpoint.method, path + (hasPath ? "?path=/etc/hostname" : ""),
                        endpoint.method == .get ? nil : body)
                    #expect(answer.status == 404, "\(endpoint.method) \(path): \(answer.text)")
                }
            }
            #expect(await fixture.node.sandboxes().count == 1)
        }
    }

    @Test("A stranger's snapshot is not found on any route")
    func snapshots() async throws {
        try await ServerFixture.with { fixture in
            let id = try await fixture.create()
            let gold = try await fixture.plane.snapshots.create(
                id, .init(name: "gold"), idempotencyKey: nil, caller: .local)
            let text = try await fixture.plane.keys.make(label: "stranger", isAdmin: false)
            let endpoints = fixture.server.endpoints.filter { $0.path.hasPrefix("/v1/snapshots/{snapshot}") }
            #expect(endpoints.count == 4)
            try await fixture.routed { client in
                let stranger = APIClient(client: client.client, key: text)
                for endpoint in endpoints {
                    for name in ["gold", gold.id] {
                        let path = endpoint.path.replacing("{snapshot}", with: name)
                        let answer = try await stranger.call(
                            endpoint.method, path, endpoint.method == .get ? nil : "{}")
                        #expect(answer.status == 404, "\(endpoint.method) \(path): \(answer.text)")
                    }
                }
            }
            #expect(fixture.node.snapshotIDs.count == 1)
        }
    }
}
