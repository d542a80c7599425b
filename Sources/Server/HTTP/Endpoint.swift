import HTTPTypes
import Hummingbird

/// One row of the API.
struct Endpoint: Sendable {
    let method: HTTPRequest.Method
    /// With parameters in braces, as in `api/openapi.yaml`.
    let path: String
    /// One line for the reader of `/docs`.
    let summary: String
    /// The heading it is listed under.
    let topic: String
    /// Whether it answers without a key.
    let isOpen: Bool
    let handler: @Sendable (APICall) async throws -> Response

    init(
        _ method: HTTPRequest.Method, _ path: String, _ topic: String, _ summary: String, isOpen: Bool = false,
        handler: @escaping @Sendable (APICall) async throws -> Response
    ) {
        self.method = method
        self.path = path
        self.summary = summary
        self.topic = topic
        self.isOpen = isOpen
        self.handler = handler
    }

    /// Whether a request's path is one of this endpoint's.
    func matches(path requested: String) -> Bool {
        let pattern = path.split(separator: "/")
        let parts = requested.split(separator: "/")
        return pattern.count == parts.count
            && zip(pattern, parts).allSatisfy { $0.hasPrefix("{") || $0 == $1 }
    }
}
