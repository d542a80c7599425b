import ControlPlane
import NIOCore
import NIOHTTP1
import SandboxModel

/// The cookie that keeps a browser let in, for one port of one sandbox only.
struct PreviewCookie {
    let place: PreviewPlace
    let scheme: String
    let expiresAt: Timestamp?

    /// Sends the browser to where it wanted to go, with the token in a cookie instead of the address, where it would end
    /// up in histories, logs and `Referer` fields.
    func redirect(setting token: String, to target: String, host: String?) throws(MartletError) -> ByteBuffer {
        var location = target.isEmpty ? "/" : target
        var path = "/"
        switch place.form {
        case .path(let prefix):
            location = prefix + location
            path = prefix + "/"
        case .host:
            // Written whole: a path that begins with two slashes would name another host.
            location = "\(scheme)://\(host ?? "")" + location
        // No browser opens a page this way.
        case .headers: break
        }
        var attributes = "Path=\(path); HttpOnly; SameSite=Lax"
        if scheme == "https" { attributes += "; Secure" }
        if let expiresAt {
            attributes += "; Max-Age=\(max(1, (expiresAt.milliseconds - Timestamp.now.milliseconds) / 1000))"
        }
        let headers: HTTPHeaders = [
            "Location": location, "Set-Cookie": "\(PreviewSecrets.name)=\(token); \(attributes)",
            "Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "Content-Length": "0",
        ]
        return try ForwardedAnswer.text(.seeOther, headers)
    }
}
