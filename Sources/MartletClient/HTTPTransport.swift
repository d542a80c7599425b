import AsyncHTTPClient
import FoundationEssentials
import Glibc
import MartletAPI
import NIOCore
import NIOHTTP1
import SandboxModel

/// HTTP to one server: addresses, keys, JSON, and every failure as a `MartletError`.
final class HTTPTransport: Sendable {
    let configuration: ClientConfiguration
    private let http: HTTPClient
    private let base: String
    private let socket: SocketPath?
    private static let maxJSONBytes = 64 << 20

    init(_ configuration: ClientConfiguration) {
        self.configuration = configuration
        var options = HTTPClient.Configuration()
        options.redirectConfiguration = .disallow
        options.httpVersion = .http1Only
        options.timeout.connect = .nanoseconds(Int64(configuration.connectTimeout / .nanoseconds(1)))
        // A server that is not there is an answer, and the caller may start one; do not try on for seconds.
        options.connectionPool.retryConnectionEstablishment = false
        // Streams hold a connection each; let nobody wait for another's stream to end.
        options.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = 4096
        http = HTTPClient(configuration: options)
        switch configuration.endpoint {
        case .url(let url):
            base = url
            socket = nil
        case .unixSocket(let path):
            let short = SocketPath(path)
            socket = short
            base = "http+unix://" + PercentEncoding.encode(short.path)
        }
    }

    func shutdown() async throws { try await http.shutdown() }

    // MARK: Calls

    /// Sends a call and decodes its JSON answer.
    func json<Answer: Decodable>(_ call: APICall, as type: Answer.Type = Answer.self) async throws -> Answer {
        let body = try await bytes(call)
        do {
            return try JSONDecoder().decode(Answer.self, from: Data(body.readableBytesView))
        } catch {
            throw MartletError(
                .internal, "\(Self.name(call)): the server's answer is not what this client knows: \(error)")
        }
    }

    /// Sends a call whose answer has nothing to tell.
    func perform(_ call: APICall) async throws { _ = try await bytes(call) }

    /// Sends a call and returns its whole answer.
    func bytes(_ call: APICall) async throws -> ByteBuffer {
        let response = try await send(call)
        do {
            return try await response.body.collect(upTo: Self.maxJSONBytes)
        } catch {
            throw translate(error, call)
        }
    }

    /// Sends a call and returns its answer with the body still to be read.
    ///
    /// - Throws: what an error answer says.
    func send(_ call: APICall) async throws -> HTTPClientResponse {
        do {
            return try await checked(call)
        } catch let error as MartletError
            where error.details["reason"] == Self.broken && call.isRepeatable && !Task.isCancelled
        {
            // An idle connection that the server closed just as we used it.
            return try await checked(call)
        }
    }

    /// Makes the JSON body of a call.
    func with(_ body: some Encodable, _ call: APICall) throws -> APICall {
        var call = call
        do {
            let encoder = JSONEncoder()
            encoder.outputFormatting = .withoutEscapingSlashes
            call.body = .bytes(ByteBuffer(bytes: try encoder.encode(body)))
        } catch {
            throw MartletError(.invalidArgument, "\(Self.name(call)): the request cannot be written as JSON: \(error)")
        }
        call.headers.append(("content-type", "application/json"))
        return call
    }

    // MARK: Plumbing

    private func checked(_ call: APICall) async throws -> HTTPClientResponse {
        let response: HTTPClientResponse
        do {
            response = try await http.execute(request(for: call), deadline: .distantFuture)
        } catch {
            throw translate(error, call)
        }
        guard response.status.code >= 400 else { return response }
        let body: ByteBuffer
        do {
            body = try await response.body.collect(upTo: 1 << 20)
        } catch {
            throw translate(error, call)
        }
        throw ErrorAnswer.error(status: Int(response.status.code), body: body, call: Self.name(call))
    }

    private func request(for call: APICall) -> HTTPClientRequest {
        var target = base + "/" + call.path.map(PercentEncoding.encode).joined(separator: "/")
        let query = call.query.compactMap { name, value in
            value.map { name + "=" + PercentEncoding.encode($0) }
        }
        if !query.isEmpty { target += "?" + query.joined(separator: "&") }
        var request = HTTPClientRequest(url: target)
        request.method = HTTPMethod(rawValue: call.method.rawValue)
        request.body = call.body
        if socket != nil { request.headers.add(name: "host", value: "localhost") }
        if let key = configuration.apiKey { request.headers.add(name: "authorization", value: "Bearer " + key) }
        for (name, value) in call.headers { request.headers.add(name: name, value: value) }
        return request
    }

    /// The marks in `details["reason"]` of failures below HTTP.
    static let notListening = "not_listening"
    static let broken = "connection_broken"

    /// What a failure of the connection means to the caller; a cancellation stays one.
    func translate(_ error: any Error, _ call: APICall) -> any Error {
        switch error {
        case is CancellationError, is MartletError: return error
        case let error as HTTPClientError: return translate(error, call)
        case is NIOTooManyBytesError:
            return MartletError(.tooLarge, "\(Self.name(call)): the answer is over \(Self.maxJSONBytes) bytes")
        case let error as IOError where error.isNobodyThere:
            return unavailable(String(cString: strerror(error.errnoCode)))
        case let error as IOError where error.errnoCode == EACCES:
            return MartletError(
                .permissionDenied, "server: \(configuration.endpoint): this user may not connect to it")
        case let error as IOError:
            return brokenOff(call, String(cString: strerror(error.errnoCode)))
        default:
            // What is left are connections that did not come about (NIOConnectionError and the resolver's errors).
            return unavailable("\(error)")
        }
    }

    private func translate(_ error: HTTPClientError, _ call: APICall) -> any Error {
        switch error {
        case .cancelled: CancellationError()
        case .connectTimeout: unavailable("no connection within the time allowed")
        case .invalidURL, .emptyHost, .emptyScheme:
            MartletError.invalid("url", "\(configuration.endpoint) is not an address")
        default: brokenOff(call, error.shortDescription)
        }
    }

    private func unavailable(_ why: String) -> MartletError {
        var message = "server: nothing listens at \(configuration.endpoint): \(why)"
        if case .unixSocket = configuration.endpoint { message += "; start the daemon with 'martlet serve'" }
        return MartletError(.unavailable, message, details: ["reason": Self.notListening])
    }

    private func brokenOff(_ call: APICall, _ why: String) -> MartletError {
        MartletError(
            .unavailable, "\(Self.name(call)): the connection to \(configuration.endpoint) broke off: \(why)",
            details: ["reason": Self.broken])
    }

    static func name(_ call: APICall) -> String { "\(call.method.rawValue) /\(call.path.joined(separator: "/"))" }
}

extension IOError {
    /// Whether the error says that no server is at the address.
    fileprivate var isNobodyThere: Bool {
        [ENOENT, ECONNREFUSED, ENOTDIR, EHOSTUNREACH, ENETUNREACH].contains(errnoCode)
    }
}
