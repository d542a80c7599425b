import ControlPlane
import E2BProtocol
import FoundationEssentials
import HTTPTypes
import Hummingbird
import MartletAPI
import NIOCore
import SandboxModel

/// A request for a sandbox's daemon, and the ways to read it.
struct EnvdCall: Sendable {
    private static let standardUser = "user"
    private static let unary = "application/json"
    private static let streaming = "application/connect+json"

    let request: Request
    let context: APIContext
    let sandbox: SandboxResource
    let caller: Caller
    /// What its maker has asked for; nil where that was none of E2B's clients.
    let settings: SandboxSettings?

    /// Who programs run as, and whose files are written, unless the client says so.
    var defaultUser: String { settings?.user ?? EnvdCall.standardUser }

    var id: String { sandbox.id }

    /// Whether it is a call of the Connect protocol.
    var isRPC: Bool { request.uri.path.split(separator: "/").first?.contains(".") ?? false }

    /// The user the client acts as: the name in its Basic credentials, which have no password.
    ///
    /// - Throws: `unauthenticated` for credentials that cannot be read.
    func user() throws(ConnectError) -> String {
        guard let header = request.headers[.authorization] else { return defaultUser }
        let parts = header.split(separator: " ", maxSplits: 1)
        guard parts.count == 2, parts[0].lowercased() == "basic", let data = Data(base64Encoded: String(parts[1])),
            let text = String(validating: data, as: UTF8.self)
        else { throw ConnectError(.unauthenticated, "the user's name cannot be read from the credentials") }
        return String(text.prefix { $0 != ":" })
    }

    /// The one message of a call that has one, streamed or not.
    func message<Message: Decodable>(_ type: Message.Type = Message.self) async throws -> Message {
        let body = try await body()
        guard isStreaming else {
            try checkContentType(EnvdCall.unary)
            return try ProtoJSON.decode(type, from: body)
        }
        var decoder = ConnectFrameDecoder()
        decoder.append(body)
        guard let frame = try decoder.next(), !decoder.isInsideFrame else {
            throw ConnectError(.invalidArgument, "a call of this method has exactly one message")
        }
        return try ProtoJSON.decode(type, from: frame.payload)
    }

    /// The JSON body of a call that is none of the Connect protocol's.
    func plainMessage<Message: Decodable>(_ type: Message.Type) async throws -> Message {
        do {
            return try ProtoJSON.decode(type, from: try await body())
        } catch let error as ConnectError {
            throw MartletError(.invalidArgument, "invalid request body: \(error.message)")
        }
    }

    var isStreaming: Bool { mediaType == EnvdCall.streaming }

    /// - Throws: `invalid_argument` for a body in another encoding than JSON.
    func checkStreaming() throws(ConnectError) { try checkContentType(EnvdCall.streaming) }

    private func checkContentType(_ wanted: String) throws(ConnectError) {
        guard mediaType == wanted else {
            throw ConnectError(.unimplemented, "content type '\(mediaType)' is not offered here; \(wanted) is")
        }
    }

    private var mediaType: String { HeaderParameters(request.headers[.contentType] ?? "").value }

    private func body() async throws -> [UInt8] {
        var bytes: [UInt8] = []
        for try await buffer in request.body {
            guard bytes.count + buffer.readableBytes <= ConnectFrame.maxPayload + ConnectFrame.headLength else {
                throw ConnectError(.resourceExhausted, "message is larger than \(ConnectFrame.maxPayload) bytes")
            }
            bytes.append(contentsOf: buffer.readableBytesView)
        }
        return bytes
    }

    /// The answer of a call that has one.
    func answer(_ message: some Encodable) throws -> Response {
        guard isStreaming else {
            return Response(
                status: .ok, headers: [.contentType: EnvdCall.unary],
                body: .init(byteBuffer: ByteBuffer(bytes: try ProtoJSON.encode(message))))
        }
        let frames =
            ConnectFrame(payload: try ProtoJSON.encode(message)).encoded + ConnectFrame.end(Array("{}".utf8)).encoded
        return streamed(.init(byteBuffer: ByteBuffer(bytes: frames)))
    }

    /// The answer of a call that failed before it began to answer.
    func unaryFailure(_ error: ConnectError) -> Response {
        if isStreaming { return streamed(.init(byteBuffer: ByteBuffer(bytes: ConnectStream.end(with: error).encoded))) }
        let bytes = (try? ProtoJSON.encode(error)) ?? []
        return Response(
            status: .init(code: error.code.httpStatus), headers: [.contentType: EnvdCall.unary],
            body: .init(byteBuffer: ByteBuffer(bytes: bytes)))
    }

    func streamed(_ body: ResponseBody) -> Response {
        Response(
            status: .ok, headers: [.contentType: EnvdCall.streaming, .cacheControl: "no-cache", .accelBuffering: "no"],
            body: body)
    }

    /// How long the client waits at most, if it says so.
    func deadline() throws(ConnectError) -> Duration? {
        guard let text = request.headers[.connectTimeout] else { return nil }
        guard let milliseconds = Int64(text), milliseconds >= 0, text.utf8.count <= 10 else {
            throw ConnectError(.invalidArgument, "Connect-Timeout-Ms is no whole number of up to ten digits")
        }
        return milliseconds == 0 ? nil : .milliseconds(milliseconds)
    }

    /// How often the client wants to hear that a quiet stream is alive.
    func keepalive(_ standard: Duration) -> Duration {
        guard let seconds = request.headers[.keepaliveInterval].flatMap(Int.init), (1...3600).contains(seconds) else {
            return standard
        }
        return .seconds(seconds)
    }
}
