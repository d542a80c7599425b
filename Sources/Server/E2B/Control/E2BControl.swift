import ControlPlane
import E2BProtocol
import HTTPTypes
import Hummingbird
import MartletAPI
import NIOCore
import SandboxModel

/// E2B's control API, at the root paths its clients use. None of it is in our own contract, `api/openapi.yaml`: it is
/// another's, and is proved with that one's clients.
struct E2BControl: Sendable {
    let sandboxes: Sandboxes
    let snapshots: Snapshots
    let templates: Templates
    let host: Host
    let tokens: AccessTokens
    let samples: MetricHistory
    /// Whether clients may have the internet for their sandboxes, which they expect.
    let allowsInternet: Bool
    let addresses: PreviewAddresses

    init(controlPlane: ControlPlane, samples: MetricHistory, allowsInternet: Bool, addresses: PreviewAddresses) {
        sandboxes = controlPlane.sandboxes
        snapshots = controlPlane.snapshots
        templates = controlPlane.templates
        host = controlPlane.host
        tokens = controlPlane.accessTokens
        self.samples = samples
        self.allowsInternet = allowsInternet
        self.addresses = addresses
    }

    var endpoints: [Endpoint] {
        let one = "/sandboxes/{id}"
        return [
            endpoint(.post, "/sandboxes", create),
            endpoint(.post, "/v2/sandboxes", create),
            endpoint(.get, "/sandboxes", listRunning),
            endpoint(.get, "/v2/sandboxes", list),
            endpoint(.get, one, get),
            endpoint(.delete, one, kill),
            endpoint(.post, "\(one)/timeout", setTimeout),
            endpoint(.post, "\(one)/refreshes", refresh),
            endpoint(.post, "\(one)/pause", pause),
            endpoint(.post, "\(one)/connect", connect),
            endpoint(.post, "/v2/sandboxes/{id}/connect", connect),
            endpoint(.post, "\(one)/resume", resume),
            endpoint(.post, "\(one)/fork", fork),
            endpoint(.post, "\(one)/snapshots", takeSnapshot),
            endpoint(.get, "/snapshots", listSnapshots),
            endpoint(.put, "\(one)/network", setNetwork),
            endpoint(.get, "\(one)/metrics", metrics),
            endpoint(.get, "/sandboxes/metrics", allMetrics),
            endpoint(.get, "\(one)/logs", logsV1),
            endpoint(.get, "/v2/sandboxes/{id}/logs", logs),
            endpoint(.get, "/templates", listTemplates),
            endpoint(.get, "/v2/templates", listTemplates),
            endpoint(.get, "/templates/aliases/{alias}", alias),
            endpoint(.get, "/templates/{template}", getTemplate),
            endpoint(.delete, "/templates/{template}", deleteTemplate),
        ] + buildEndpoints + notOffered
    }

    /// What clients have methods for and this server does not: told in so many words, not as a missing page.
    private var notOffered: [Endpoint] {
        let answer: @Sendable (APICall) async throws -> Response = { call in
            let what = call.request.uri.path.split(separator: "/").first ?? ""
            throw MartletError(
                .unsupported, "\(what): this server does not offer them to clients of E2B; see docs/e2b.md")
        }
        return ["volumes", "secrets"].flatMap { noun in
            [
                endpoint(.get, "/\(noun)", answer), endpoint(.post, "/\(noun)", answer),
                endpoint(.get, "/\(noun)/{noun}", answer), endpoint(.post, "/\(noun)/{noun}", answer),
                endpoint(.delete, "/\(noun)/{noun}", answer),
            ]
        }
    }

    /// Failures, that of a key that is none among them, are told in E2B's shape.
    func endpoint(
        _ method: HTTPRequest.Method, _ path: String,
        _ handler: @escaping @Sendable (APICall) async throws -> Response, isOpen: Bool = false
    ) -> Endpoint {
        Endpoint(method, path, "E2B", "", isOpen: isOpen, handler: handler)
    }

    static func answer(
        _ value: some Encodable, status: HTTPResponse.Status = .ok, headers: HTTPFields = [:]
    ) throws -> Response {
        var headers = headers
        headers[.contentType] = "application/json"
        return Response(
            status: status, headers: headers, body: .init(byteBuffer: ByteBuffer(bytes: try ProtoJSON.encode(value))))
    }

    /// A page of a list: an array, and in a header where the next one begins.
    static func page(_ items: [some Encodable], next: String?) throws -> Response {
        var headers: HTTPFields = [:]
        if let next { headers[.e2bNextToken] = next }
        return try answer(items, headers: headers)
    }
}

extension APICall {
    /// Reads the whole body as JSON of which unknown fields are passed over.
    func lenient<Body: Decodable>(_ type: Body.Type) async throws -> Body {
        do {
            return try ProtoJSON.decode(type, from: try await body())
        } catch let error as ConnectError {
            throw MartletError(.invalidArgument, "Error when parsing request: \(error.message)")
        }
    }
}
