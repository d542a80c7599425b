import NIOCore
import NIOHTTP1
import SandboxModel

/// A request as the sandbox gets it: written anew, so that nothing of how the client wrote it gets through. Each has a
/// connection of its own, so that no second one can hide behind it.
struct ForwardedRequest: Sendable {
    /// How its body is framed.
    enum Framing: Sendable, Equatable {
        case none
        case length(Int)
        case chunked
    }

    let head: ByteBuffer
    let framing: Framing

    /// Names that the daemon alone says, or that it does not let through; `_` counts as `-`, as for CGI programs.
    private static let own: Set<String> = [
        "host", "content-length", "forwarded", "via", "x-real-ip", PreviewSecrets.header,
    ]

    /// - Parameters:
    ///   - isUpgrade: whether the client wants another protocol, and may.
    ///   - scheme: what the client used to reach us.
    /// - Throws: `invalid_argument` for what cannot be passed on.
    init(
        _ request: HTTPRequestHead, secrets: PreviewSecrets, form: PreviewForm, port: UInt16, isUpgrade: Bool,
        scheme: String, client: SocketAddress?
    ) throws(MartletError) {
        framing = try ForwardedRequest.framing(of: request.headers)
        let host = request.headers.first(name: "host") ?? ""
        var headers = HTTPHeaders()
        switch form {
        case .host(let authority): headers.add(name: "Host", value: authority)
        case .path, .headers: headers.add(name: "Host", value: "localhost:\(port)")
        }
        let dropped = HopByHop.names(in: request.headers)
        for (name, value) in secrets.headers {
            let plain = name.lowercased()
            let dashed = plain.replacing("_", with: "-")
            guard !dropped.contains(plain), !ForwardedRequest.own.contains(dashed),
                !dashed.hasPrefix("x-forwarded-")
            else { continue }
            headers.add(name: name, value: value)
        }
        let address = client?.ipAddress
        if let address { headers.add(name: "X-Forwarded-For", value: address) }
        headers.add(name: "X-Forwarded-Proto", value: scheme)
        if !host.isEmpty { headers.add(name: "X-Forwarded-Host", value: host) }
        if case .path(let prefix) = form { headers.add(name: "X-Forwarded-Prefix", value: prefix) }
        headers.add(name: "Forwarded", value: ForwardedRequest.forwarded(address, host, scheme))
        headers.add(name: "Via", value: "1.1 martlet")
        switch framing {
        case .none: break
        case .length(let count): headers.add(name: "Content-Length", value: "\(count)")
        case .chunked: headers.add(name: "Transfer-Encoding", value: "chunked")
        }
        headers.add(name: "Connection", value: isUpgrade ? "Upgrade" : "close")
        if isUpgrade {
            headers.add(name: "Upgrade", value: request.headers["upgrade"].joined(separator: ", "))
        }
        var buffer = ByteBuffer()
        buffer.writeString("\(request.method.rawValue) \(secrets.target.isEmpty ? "/" : secrets.target) HTTP/1.1\r\n")
        try HeaderText.write(headers, to: &buffer)
        head = buffer
    }

    private static func framing(of headers: HTTPHeaders) throws(MartletError) -> Framing {
        // The decoder has refused what is contradictory; the body comes decoded, whatever it was in.
        if headers.contains(name: "transfer-encoding") { return .chunked }
        let lengths = Set(headers[canonicalForm: "content-length"])
        guard let text = lengths.first else { return .none }
        guard lengths.count == 1, let length = Int(text), length >= 0 else {
            throw .invalid("Content-Length", "is not one number")
        }
        return .length(length)
    }

    /// RFC 7239, section 4; what is not a token stands in quotes.
    private static func forwarded(_ address: String?, _ host: String, _ scheme: String) -> String {
        var parts: [String] = []
        if let address { parts.append(address.contains(":") ? "for=\"[\(address)]\"" : "for=\(address)") }
        let isPlain = host.utf8.allSatisfy {
            $0 > 32 && $0 < 127 && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "\\")
        }
        if !host.isEmpty, isPlain { parts.append("host=\"\(host)\"") }
        parts.append("proto=\(scheme)")
        return parts.joined(separator: ";")
    }
}

/// Header fields as they are written (RFC 9112, section 5).
enum HeaderText {
    /// Writes every field and the empty line.
    ///
    /// - Throws: `invalid_argument` for a name or value that would be read as something else.
    static func write(_ headers: HTTPHeaders, to buffer: inout ByteBuffer) throws(MartletError) {
        for (name, value) in headers {
            guard !name.isEmpty, name.utf8.allSatisfy(isTokenByte), value.utf8.allSatisfy(isValueByte) else {
                throw .invalid("header", "a field's name or value holds what it must not")
            }
            buffer.writeString(name)
            buffer.writeString(": ")
            buffer.writeString(value)
            buffer.writeString("\r\n")
        }
        buffer.writeString("\r\n")
    }

    /// `tchar` of RFC 9110, section 5.6.2.
    static func isTokenByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: tokenMarks.contains(byte)
        }
    }
    private static let tokenMarks = Set("!#$%&'*+-.^_`|~".utf8)

    /// `field-vchar`, blanks and tabs of RFC 9110, section 5.5.
    static func isValueByte(_ byte: UInt8) -> Bool { byte >= 32 && byte != 127 || byte == 9 }
}
