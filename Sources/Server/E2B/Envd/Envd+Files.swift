import ControlPlane
import E2BProtocol
import FoundationEssentials
import GuestClient
import HTTPTypes
import Hummingbird
import MartletAPI
import NIOCore
import SandboxModel

/// `/files`: what is up- and downloaded.
extension Envd {
    /// The query of `/files`; what else a client adds is passed over.
    struct FileQuery: Sendable {
        var path: String?
        var username: String?
        var signature: String?
        var expires: Int64?

        init(_ request: Request) throws(MartletError) {
            let query = try LenientQuery(request.uri.query)
            path = query["path"]
            username = query["username"]
            signature = query["signature"]
            expires = try query["signature_expiration"].map { text throws(MartletError) in
                guard let seconds = Int64(text) else { throw .invalid("signature_expiration", "is no whole number") }
                return seconds
            }
        }
    }

    /// - Throws: `unauthenticated`.
    func checkSignature(_ call: EnvdCall, _ id: SandboxID) throws {
        let query = try FileQuery(call.request)
        guard let text = query.signature else {
            throw MartletError(.unauthenticated, "missing signature query parameter")
        }
        guard let signature = FileSignature(text), signature == expected(query, call.request, id) else {
            throw MartletError(.unauthenticated, "invalid signature")
        }
        if let expires = query.expires, expires < Timestamp.now.milliseconds / 1000 {
            throw MartletError(.unauthenticated, "signature is already expired")
        }
    }

    private func expected(_ query: FileQuery, _ request: Request, _ id: SandboxID) -> FileSignature {
        FileSignature(
            path: query.path ?? "", operation: request.method == .get ? .read : .write, user: query.username ?? "",
            token: tokens.token(.control, of: id), expires: query.expires)
    }

    /// The sandbox whose token a bare URL was signed with: such a URL names none.
    func sandbox(signed request: Request) -> SandboxID? {
        guard request.uri.path == "/files", request.method == .get || request.method == .post,
            let query = try? FileQuery(request), let signature = query.signature.flatMap({ FileSignature($0) })
        else { return nil }
        return sandboxes.live.first { expected(query, request, $0) == signature }
    }

    /// What clients want kept with the files they send; names of header fields have no upper case.
    private static func labels(_ request: Request) -> [String: String] {
        let prefix = "x-metadata-"
        return request.headers.reduce(into: [:]) { labels, field in
            guard field.name.canonicalName.hasPrefix(prefix) else { return }
            labels[String(field.name.canonicalName.dropFirst(prefix.count))] = field.value
        }
    }

    func files(_ call: EnvdCall) async throws -> Response {
        switch call.request.method {
        case .get: try await download(call)
        case .post: try await upload(call)
        default: throw ConnectError(.unimplemented, "\(call.request.method.rawValue) /files is not offered")
        }
    }

    private func download(_ call: EnvdCall) async throws -> Response {
        let query = try FileQuery(call.request)
        let path = try await resolve(query.path ?? "", user: query.username ?? call.defaultUser, call)
        let range = call.request.headers[.range].flatMap(ByteRange.init)
        let (offset, length) = (range?.first ?? 0, range?.length)
        do {
            let reader = try await files.read(
                call.id, path: path, offset: offset, length: length, caller: call.caller)
            let download = FileDownload(reader: reader, offset: offset, length: length)
            var response = try await download.response(isRange: range != nil)
            response.headers[.vary] = "Accept-Encoding"
            return response
        } catch let error as MartletError {
            switch error.details["reason"] {
            case "not_found": throw MartletError(.notFound, "path '\(path)' does not exist")
            case "is_directory": throw MartletError(.invalidArgument, "path '\(path)' is a directory")
            default: throw error
            }
        }
    }

    private func upload(_ call: EnvdCall) async throws -> Response {
        let query = try FileQuery(call.request)
        let upload = FileUpload(
            envd: self, call: call, user: query.username ?? call.defaultUser, labels: Envd.labels(call.request))
        let header = call.request.headers[.contentType] ?? ""
        let written: [WrittenFile]
        switch HeaderParameters(header).value {
        case "application/octet-stream":
            guard let path = query.path else {
                throw MartletError.invalid("path", "is required in the query for raw body upload")
            }
            written = [try await upload.raw(to: path)]
        case "multipart/form-data": written = try await upload.parts(header, path: query.path)
        default:
            throw MartletError.invalid(
                "Content-Type", "'\(header.prefix(100))' is neither multipart/form-data nor application/octet-stream")
        }
        return Response(
            status: .ok, headers: [.contentType: "application/json"],
            body: .init(byteBuffer: ByteBuffer(bytes: try ProtoJSON.encode(written))))
    }
}
