import NIOHTTP1

/// Header fields that belong to one connection and are not passed on (RFC 9110, section 7.6.1).
enum HopByHop {
    private static let names: Set<String> = [
        "connection", "proxy-connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade",
        "proxy-authenticate", "proxy-authorization", "proxy-authentication-info", "http2-settings",
    ]

    /// The names not to pass on, those that the message itself lists in `Connection` included.
    static func names(in headers: HTTPHeaders) -> Set<String> {
        HopByHop.names.union(headers[canonicalForm: "connection"].map { $0.lowercased() })
    }

    /// Whether a client asks to speak another protocol (RFC 9110, section 7.8), in HTTP/1.1.
    static func asksForUpgrade(_ head: HTTPRequestHead) -> Bool {
        head.version == .http1_1 && head.headers.contains(name: "upgrade")
            && head.headers[canonicalForm: "connection"].contains { $0.lowercased() == "upgrade" }
    }

    /// Whether the client takes more requests on its connection (RFC 9112, section 9.3).
    static func keepsAlive(_ head: HTTPRequestHead) -> Bool {
        let options = Set(head.headers[canonicalForm: "connection"].map { $0.lowercased() })
        return head.version == .http1_1 && !options.contains("close")
    }
}
