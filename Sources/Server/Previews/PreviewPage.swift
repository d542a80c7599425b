import MartletAPI
import NIOCore
import NIOHTTP1
import SandboxModel

/// A failure of ours in place of a preview: JSON, or a short page where a browser asks.
enum PreviewPage {
    /// - Parameter place: what a client of E2B, or a visitor of such a one's sandbox, asked for.
    static func answer(
        _ error: MartletError, to request: HTTPRequestHead, keepsAlive: Bool, requestID: String,
        place: PreviewPlace? = nil
    ) -> ByteBuffer {
        let foreign = place.map { ProxyFailure(error, at: $0) }
        let status = foreign.map { HTTPResponseStatus(statusCode: $0.code) } ?? status(of: error)
        var headers: HTTPHeaders = [
            "Cache-Control": "no-store", "X-Request-Id": requestID, "X-Content-Type-Options": "nosniff",
            ForwardedAnswer.errorHeader: error.details["reason"] ?? error.code.rawValue,
        ]
        let body: ByteBuffer
        if isBrowser(request) {
            headers.add(name: "Content-Type", value: "text/html; charset=utf-8")
            headers.add(
                name: "Content-Security-Policy",
                value: "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors *")
            body = ByteBuffer(string: html(error))
        } else if let foreign {
            headers.add(name: "Content-Type", value: "application/json")
            body = ByteBuffer(bytes: foreign.bytes)
        } else {
            headers.add(name: "Content-Type", value: "application/json")
            body = (try? StrictJSON.encode(ErrorResponse.body(error, requestID: requestID))) ?? ByteBuffer()
        }
        if error.code == .resourceExhausted || error.code == .unavailable {
            headers.add(name: "Retry-After", value: "1")
        }
        if error.details["reason"] == upgradeRequired {
            headers.add(name: "Upgrade", value: PreviewRouting.tunnelProtocol)
        }
        headers.add(name: "Content-Length", value: "\(body.readableBytes)")
        if !keepsAlive { headers.add(name: "Connection", value: "close") }
        guard var text = try? ForwardedAnswer.text(status, headers) else { return ByteBuffer() }
        if request.method != .HEAD { text.writeImmutableBuffer(body) }
        return text
    }

    /// The reason of a request that has to ask for another protocol, and does not.
    static let upgradeRequired = "upgrade_required"

    private static func status(of error: MartletError) -> HTTPResponseStatus {
        error.details["reason"] == upgradeRequired
            ? .upgradeRequired : HTTPResponseStatus(statusCode: error.code.httpStatus)
    }

    /// Whether a page is wanted rather than data.
    static func isBrowser(_ request: HTTPRequestHead) -> Bool {
        request.headers[canonicalForm: "accept"].contains { $0.lowercased().hasPrefix("text/html") }
    }

    private static func html(_ error: MartletError) -> String {
        """
        <!doctype html>
        <html lang="en">
        <head>
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <title>\(title(of: error))</title>
        <style>
        :root { color-scheme: light dark; }
        body { font: 16px/1.5 system-ui, sans-serif; max-width: 40rem; margin: 4rem auto; padding: 0 1rem; }
        code { overflow-wrap: anywhere; }
        </style>
        </head>
        <body>
        <h1>\(title(of: error))</h1>
        <p><code>\(escaped(error.message))</code></p>
        </body>
        </html>

        """
    }

    private static func title(of error: MartletError) -> String {
        switch error.details["reason"] {
        case "not_published": "This port is not published"
        case "token_missing": "This port is private"
        case "token_expired": "The token has expired"
        case "token_invalid": "The token is not valid"
        case "port_closed": "Nothing listens on this port"
        case "guest_gone": "The sandbox is gone"
        case "bad_answer": "The answer cannot be read"
        default: error.code == .notFound ? "There is no such sandbox" : "The sandbox cannot be reached"
        }
    }

    private static func escaped(_ text: String) -> String {
        text.reduce(into: "") { result, character in
            switch character {
            case "&": result += "&amp;"
            case "<": result += "&lt;"
            case ">": result += "&gt;"
            case "\"": result += "&quot;"
            default: result.append(character)
            }
        }
    }
}
