import NIOCore
import NIOHTTP1
import SandboxModel

/// A sandbox's answer as the client gets it: written anew, and on the API's own origin without what would act there.
struct ForwardedAnswer: Sendable {
    /// How the body is framed for the client.
    enum Framing: Sendable, Equatable {
        case asIs
        case chunked
        /// With the connection.
        case untilEnd
    }

    /// Tells our own failures from the sandbox's; it may not say so itself.
    static let errorHeader = "X-Martlet-Error"

    let head: ByteBuffer
    let framing: Framing
    /// Whether the connection may take another request afterwards.
    let keepsAlive: Bool

    /// Fields a page on the API's origin may not send: they would change what the origin is, or what is kept for it.
    private static let originWide: Set<String> = [
        "set-cookie", "set-cookie2", "clear-site-data", "strict-transport-security", "alt-svc",
        "service-worker-allowed",
        "report-to", "reporting-endpoints", "nel", "public-key-pins", "public-key-pins-report-only", "expect-ct",
        "origin-trial", "critical-ch", "accept-ch",
    ]
    /// Gives the page an origin of its own, whatever else it says: policies only ever take away.
    private static let sandbox =
        "sandbox allow-downloads allow-forms allow-modals allow-pointer-lock allow-popups allow-scripts"

    init(
        _ answer: HTTPResponseHead, framing: AnswerFraming, to request: HTTPRequestHead, form: PreviewForm,
        port: UInt16,
        keepsAlive: Bool
    ) throws(MartletError) {
        var headers = ForwardedAnswer.headers(of: answer, to: request, form: form, port: port)
        let isHTTP11 = request.version == .http1_1
        switch framing {
        case .none:
            self.framing = .asIs
            // What a GET would have had (RFC 9110, section 8.6).
            if answer.status.code != 204, let length = try? AnswerFraming.length(of: answer.headers) {
                headers.add(name: "Content-Length", value: "\(length)")
            }
        case .length(let count):
            self.framing = .asIs
            headers.add(name: "Content-Length", value: "\(count)")
        case .chunked, .untilEnd:
            self.framing = isHTTP11 ? .chunked : .untilEnd
            if isHTTP11 { headers.add(name: "Transfer-Encoding", value: "chunked") }
        }
        self.keepsAlive = keepsAlive && self.framing != .untilEnd
        if !self.keepsAlive { headers.add(name: "Connection", value: "close") }
        head = try ForwardedAnswer.text(answer.status, headers)
    }

    /// The answer that goes over to another protocol.
    static func switching(
        _ answer: HTTPResponseHead, to request: HTTPRequestHead, form: PreviewForm, port: UInt16
    ) throws(MartletError) -> ByteBuffer {
        var headers = headers(of: answer, to: request, form: form, port: port)
        headers.add(name: "Connection", value: "Upgrade")
        headers.add(name: "Upgrade", value: answer.headers["upgrade"].joined(separator: ", "))
        return try text(answer.status, headers)
    }

    /// 100 or 103 on the way to the answer.
    static func informational(_ answer: HTTPResponseHead) throws(MartletError) -> ByteBuffer {
        try text(answer.status, HTTPHeaders())
    }

    private static func headers(
        of answer: HTTPResponseHead, to request: HTTPRequestHead, form: PreviewForm, port: UInt16
    ) -> HTTPHeaders {
        let dropped = HopByHop.names(in: answer.headers)
        var headers = HTTPHeaders()
        for (name, value) in answer.headers {
            let plain = name.lowercased()
            guard !dropped.contains(plain), plain != "content-length", plain != errorHeader.lowercased() else {
                continue
            }
            switch form {
            case .host:
                if plain == "set-cookie" {
                    if let confined = confinedCookie(value) { headers.add(name: name, value: confined) }
                } else {
                    headers.add(name: name, value: value)
                }
            case .path(let prefix):
                if originWide.contains(plain) { continue }
                if plain == "location" || plain == "content-location" {
                    let location = LocationConfinement(prefix: prefix, port: port, request: request)
                    headers.add(name: name, value: location.confined(value))
                } else {
                    headers.add(name: name, value: value)
                }
            case .headers:
                if !originWide.contains(plain) { headers.add(name: name, value: value) }
            }
        }
        switch form {
        case .path, .headers: headers.add(name: "Content-Security-Policy", value: sandbox)
        case .host: break
        }
        headers.add(name: "Via", value: "1.1 martlet")
        return headers
    }

    /// A cookie for this host name alone, not for those of other previews; nil for one that would stand in for ours.
    static func confinedCookie(_ value: String) -> String? {
        let parts = value.split(separator: ";", omittingEmptySubsequences: false)
        let name = (parts.first ?? "").split(separator: "=", omittingEmptySubsequences: false).first ?? ""
        guard name.filter({ $0 != " " && $0 != "\t" }) != PreviewSecrets.name else { return nil }
        let kept = parts.enumerated().filter { index, part in
            let attribute = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).first ?? ""
            return index == 0 || attribute.filter({ $0 != " " && $0 != "\t" }).lowercased() != "domain"
        }
        return kept.map(\.element).joined(separator: ";")
    }

    static func text(_ status: HTTPResponseStatus, _ headers: HTTPHeaders) throws(MartletError) -> ByteBuffer {
        var buffer = ByteBuffer()
        buffer.writeString("HTTP/1.1 \(status.code) \(status.reasonPhrase)\r\n")
        try HeaderText.write(headers, to: &buffer)
        return buffer
    }
}
