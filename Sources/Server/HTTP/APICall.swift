import ControlPlane
import HTTPTypes
import Hummingbird
import MartletAPI
import SandboxModel

/// A request whose sender is known, and the ways to read it.
struct APICall: Sendable {
    let request: Request
    let context: APIContext
    let caller: Caller
    let heartbeat: Duration

    /// A part of the path, by the name in the endpoint's braces.
    func parameter(_ name: String) -> String { context.parameters.get(name) ?? "" }

    /// The sandbox named in the path, by id or name.
    var sandbox: String { parameter("id") }

    /// The process named in the path.
    func pid() throws -> Int32 {
        let text = parameter("pid")
        guard let pid = Int32(text), pid > 0 else {
            throw MartletError(.notFound, "process: '\(text.prefix(20))' is no process's number")
        }
        return pid
    }

    /// The query, which may hold no other names than these.
    func query(_ names: String..., prefixes: [String] = []) throws -> Query {
        try Query(request.uri.query, names: names, prefixes: prefixes)
    }

    /// Reads the whole body as JSON.
    ///
    /// Never inlined: doing so makes the optimiser of Swift 6.3.1 crash while it splits a calling coroutine.
    @inline(never)
    func decode<Body: APIRequest>(_ type: Body.Type = Body.self) async throws -> Body {
        try StrictJSON.decode(type, from: try await body())
    }

    /// The whole body, up to 1 MiB.
    ///
    /// - Throws: `too_large`, `invalid_argument` for one that ended early.
    func body() async throws -> [UInt8] {
        let limit = StrictJSON.maxBytes
        let announced = request.headers[.contentLength].flatMap { Int($0) }
        func tooLarge() -> MartletError {
            MartletError(.tooLarge, "body: is larger than \(limit) bytes", details: ["limit_bytes": "\(limit)"])
        }
        if let announced, announced > limit { throw tooLarge() }
        var bytes: [UInt8] = []
        for try await buffer in request.body {
            guard bytes.count + buffer.readableBytes <= limit else { throw tooLarge() }
            bytes.append(contentsOf: buffer.readableBytesView)
        }
        if let announced, bytes.count < announced { throw MartletError.invalid("body", "was cut off") }
        return bytes
    }
}

extension HTTPField.Name {
    // Names known to be well-formed: letters and dashes only.
    static let apiKey = named("X-API-Key")
    static let requestID = named("X-Request-Id")
    static let idempotencyKey = named("Idempotency-Key")
    static let lastEventID = named("Last-Event-ID")
    static let accelBuffering = named("X-Accel-Buffering")
    static let fileMode = named("X-File-Mode")
    static let fileUser = named("X-File-Uid")
    static let fileGroup = named("X-File-Gid")
    static let fileSize = named("X-File-Size")
    static let fileModified = named("X-File-Modified-At")
    static let contentTypeOptions = named("X-Content-Type-Options")
    static let contentSecurity = named("Content-Security-Policy")

    private static func named(_ text: String) -> HTTPField.Name {
        HTTPField.Name(text) ?? .upgrade
    }
}
