import AsyncHTTPClient

/// The methods the API uses.
enum APIMethod: String, Sendable {
    case GET, POST, PUT, PATCH, DELETE
}

/// One request to the server, before it is sent.
struct APICall: Sendable {
    var method: APIMethod
    /// Segments below the root; each is encoded on its own.
    var path: [String]
    var query: [(name: String, value: String?)] = []
    var headers: [(String, String)] = []
    var body: HTTPClientRequest.Body?
    /// Whether it may be sent again when the connection broke before an answer came.
    var isRepeatable: Bool { method == .GET || headers.contains { $0.0 == "idempotency-key" } }

    init(_ method: APIMethod, _ path: String..., query: [(name: String, value: String?)] = []) {
        self.method = method
        self.path = path
        self.query = query
    }
}
