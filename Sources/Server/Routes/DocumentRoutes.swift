import HTTPTypes
import Hummingbird
import LinuxSystem
import NIOCore
import NIOPosix
import SandboxModel

/// The API's description: for programs, and for people.
struct DocumentRoutes {
    private static let topic = "Documentation"
    let openAPIPath: String?
    /// The endpoints told of in `/docs`, beside these.
    let documented: [Endpoint]

    var endpoints: [Endpoint] {
        let topic = DocumentRoutes.topic
        return [
            Endpoint(.get, "/openapi.yaml", topic, "The API as OpenAPI 3.1.", isOpen: true, handler: openAPI),
            Endpoint(.get, "/docs", topic, "This page.", isOpen: true, handler: docs),
        ]
    }

    @Sendable private func openAPI(_ call: APICall) async throws -> Response {
        guard let openAPIPath else { throw DocumentRoutes.notInstalled }
        let bytes = try await NIOThreadPool.singleton.runIfActive {
            do {
                return try AtomicFile.read(openAPIPath)
            } catch {
                throw DocumentRoutes.notInstalled
            }
        }
        return Response(
            status: .ok, headers: [.contentType: "application/yaml"],
            body: .init(byteBuffer: ByteBuffer(bytes: bytes)))
    }

    private static var notInstalled: MartletError {
        MartletError(.notFound, "openapi.yaml: the file is not installed beside this daemon")
    }

    @Sendable private func docs(_ call: APICall) async throws -> Response {
        let page = DocsPage(endpoints: documented + endpoints)
        let headers: HTTPFields = [
            .contentType: "text/html; charset=utf-8",
            .contentSecurity: "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
        ]
        return Response(
            status: .ok, headers: headers, body: .init(byteBuffer: ByteBuffer(string: page.html)))
    }
}
