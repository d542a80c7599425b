import FoundationEssentials
import HTTPTypes
import Hummingbird
import MartletAPI
import SandboxModel
import Testing
import Yams

@testable import Server

/// `api/openapi.yaml`, parsed.
struct OpenAPIDocument {
    static let path = #filePath.split(separator: "/").dropLast(3).reduce("") { "\($0)/\($1)" } + "/api/openapi.yaml"

    let root: Node

    init() throws {
        let text = String(decoding: try Data(contentsOf: URL(filePath: OpenAPIDocument.path)), as: UTF8.self)
        root = try #require(try Yams.compose(yaml: text))
    }

    /// `METHOD /path` of every operation.
    var operations: Set<String> {
        var found: Set<String> = []
        for (path, item) in root["paths"]?.mapping ?? [:] {
            for (key, _) in item.mapping ?? [:] where key.string != "parameters" {
                found.insert("\(key.string?.uppercased() ?? "") \(path.string ?? "")")
            }
        }
        return found
    }

    func properties(_ schema: String) -> Set<String> {
        let properties = root["components"]?["schemas"]?[schema]?["properties"]?.mapping
        return Set(properties?.keys.compactMap(\.string) ?? [])
    }

    func values(_ schema: String) -> Set<String> {
        Set(root["components"]?["schemas"]?[schema]?["enum"]?.sequence?.compactMap(\.string) ?? [])
    }
}

@Suite("api/openapi.yaml")
struct OpenAPITests {
    @Test("It has exactly the routes of the router, and those that are taken out before it")
    func routes() async throws {
        let document = try OpenAPIDocument()
        try await ServerFixture.with { fixture in
            let router = fixture.server.router(authenticator: .trustsEveryone)
            // E2B's control API is another's contract, and tested with that one's clients (Tests/E2BTests).
            let foreign = Set(fixture.server.foreignEndpoints.map { "\($0.method.rawValue) \($0.path)" })
            let all = Set(router.routes.map { "\($0.method.rawValue) \($0.path)" })
            #expect(foreign.isSubset(of: all) && foreign.isDisjoint(with: document.operations))
            let routes = all.subtracting(foreign)
            let taken = Set(PreviewRouting.routes.map { "\($0.method.rawValue) \($0.path)" })
            #expect(routes.isDisjoint(with: taken))
            #expect(routes.union(taken).subtracting(document.operations).isEmpty)
            #expect(document.operations.subtracting(routes).subtracting(taken).isEmpty)
            #expect(routes.count > 40)
        }
    }

    @Test("Operations that need no key say so, and the others do not")
    func security() async throws {
        let document = try OpenAPIDocument()
        try await ServerFixture.with { fixture in
            for endpoint in fixture.server.endpoints + PortRoutes.served {
                let operation = document.root["paths"]?[endpoint.path]?[endpoint.method.rawValue.lowercased()]
                #expect((operation?["security"]?.sequence?.isEmpty == true) == endpoint.isOpen, "\(endpoint.path)")
            }
        }
    }

    @Test("Every request's schema has the fields of its type and closes the door to others")
    func requests() throws {
        let document = try OpenAPIDocument()
        let requests: [(String, [String])] = [
            ("CreateSandboxRequest", CreateSandboxRequest.fields),
            ("UpdateSandboxRequest", UpdateSandboxRequest.fields), ("ExecRequest", ExecRequest.fields),
            ("StartProcessRequest", StartProcessRequest.fields), ("WriteInputRequest", WriteInputRequest.fields),
            ("SignalRequest", SignalRequest.fields), ("ResizeRequest", ResizeRequest.fields),
            ("MakeDirectoryRequest", MakeDirectoryRequest.fields), ("MoveFileRequest", MoveFileRequest.fields),
            ("BuildTemplateRequest", BuildTemplateRequest.fields),
            ("CreateSnapshotRequest", CreateSnapshotRequest.fields),
            ("ResumeSandboxRequest", ResumeSandboxRequest.fields), ("RewindRequest", RewindRequest.fields),
            ("PublishPortRequest", PublishPortRequest.fields),
            ("ForkSandboxRequest", ForkSandboxRequest.fields), ("ForkSnapshotRequest", ForkSnapshotRequest.fields),
            ("NetworkPolicy", NetworkPolicy.fields),
            ("NetworkNames", CreateSandboxRequest.innerFields["network.dns"] ?? []),
            ("Secret", CreateSandboxRequest.innerFields["secrets"] ?? []),
            ("SecretSource", CreateSandboxRequest.innerFields["secrets.value_from"] ?? []),
        ]
        for (schema, fields) in requests {
            #expect(document.properties(schema) == Set(fields), "\(schema)")
            let closed = document.root["components"]?["schemas"]?[schema]?["additionalProperties"]?.bool
            #expect(closed == false, "\(schema)")
        }
    }

    @Test("Every answer's schema has the properties its type writes")
    func answers() throws {
        let document = try OpenAPIDocument()
        for (schema, keys) in try Samples.keys() {
            #expect(document.properties(schema) == keys, "\(schema)")
        }
    }

    @Test("Its words are the program's words")
    func enumerations() throws {
        let document = try OpenAPIDocument()
        #expect(document.values("SandboxState") == Set(SandboxState.allCases.map(\.rawValue)))
        #expect(document.values("IsolationLevel") == Set(IsolationLevel.allCases.map(\.rawValue)))
        #expect(document.values("PortVisibility") == Set(PortVisibility.allCases.map(\.rawValue)))
        #expect(document.values("TimeoutAction") == Set(TimeoutAction.allCases.map(\.rawValue)))
        #expect(document.values("NetworkMode") == Set(NetworkPolicy.Mode.allCases.map(\.rawValue)))
        #expect(document.values("SnapshotKind") == Set(SnapshotKind.allCases.map(\.rawValue)))
        #expect(document.values("SnapshotState") == Set(SnapshotState.allCases.map(\.rawValue)))
        #expect(document.values("ResumeFrom") == Set(ResumeFrom.allCases.map(\.rawValue)))
        #expect(document.values("ForkOrigin") == Set(ForkOrigin.allCases.map(\.rawValue)))
        let kinds = document.root["components"]?["schemas"]?["TreeNode"]?["properties"]?["kind"]?["enum"]?.sequence
        #expect(Set(kinds?.compactMap(\.string) ?? []) == Set(TreeResource.Node.Kind.allCases.map(\.rawValue)))
        let modes = document.root["components"]?["schemas"]?["CreateReport"]?["properties"]?["mode"]?["enum"]?.sequence
        #expect(Set(modes?.compactMap(\.string) ?? []) == Set(CreateReport.Mode.allCases.map(\.rawValue)))
        let codes = document.root["components"]?["schemas"]?["ErrorDetail"]?["properties"]?["code"]?["enum"]?.sequence
        #expect(Set(codes?.compactMap(\.string) ?? []) == Set(MartletError.Code.allCases.map(\.rawValue)))
    }
}
