import NIOHTTP1
import SandboxModel

/// What a request must be like to be passed on, and how it is written when it is: only what two readers cannot
/// understand in two ways (RFC 9112 sections 3.2, 6.3, 11.2). Pure.
enum HTTPRequestRules {
    /// Why a request is refused.
    struct Refusal: Error, Equatable {
        var rule: RefusalRule
        var name: String?
        var why: String
    }

    /// A request as it is passed on.
    struct Forwarded {
        var head: HTTPRequestHead
        /// Whether the answer may end HTTP on this connection (RFC 6455).
        var isWebSocket = false
        /// Whether there can be no request behind this one.
        var isLast = false
    }

    /// The name a request is for.
    ///
    /// - Throws: when it is for none, for more than one, or framed in a way that readers may disagree over.
    static func host(of head: HTTPRequestHead, port: UInt16) throws(Refusal) -> String {
        guard head.version == .http1_1 || head.version == .http1_0 else {
            throw Refusal(rule: .notHTTP, why: "HTTP/\(head.version.major).\(head.version.minor)")
        }
        guard head.method != .CONNECT else {
            throw Refusal(rule: .proxyRequest, name: String(head.uri.prefix(255)), why: "CONNECT asks for a proxy")
        }
        guard head.uri.hasPrefix("/") || head.uri == "*" && head.method == .OPTIONS else {
            throw Refusal(
                rule: .proxyRequest, name: authority(of: head.uri), why: "a request for a whole URL asks for a proxy")
        }
        guard head.uri.utf8.allSatisfy({ $0 > 32 && $0 != 127 }) else {
            throw Refusal(rule: .notHTTP, why: "a request target with blanks in it")
        }
        try checkFraming(head)
        let hosts = head.headers["host"]
        guard let value = hosts.first, !value.isEmpty else {
            throw Refusal(rule: .noHost, why: "a request that names no host")
        }
        guard hosts.count == 1 else { throw Refusal(rule: .noHost, name: value, why: "more than one Host") }
        return try host(named: value, port: port)
    }

    private static func host(named value: String, port: UInt16) throws(Refusal) -> String {
        let parts = value.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        guard let name = HostPattern.normalized(parts[0]) else {
            throw Refusal(rule: .hostNotAllowed, name: String(value.prefix(255)), why: "Host is no host's name")
        }
        if parts.count == 2, PortRange.port(parts[1]) != port {
            throw Refusal(rule: .hostMismatch, name: name, why: "Host names another port than the connection's")
        }
        return name
    }

    private static func checkFraming(_ head: HTTPRequestHead) throws(Refusal) {
        let lengths = head.headers["content-length"]
        let codings = head.headers["transfer-encoding"]
        guard lengths.isEmpty || codings.isEmpty else {
            throw Refusal(rule: .notHTTP, why: "both Content-Length and Transfer-Encoding")
        }
        if !codings.isEmpty {
            guard codings.count == 1, codings[0].lowercased() == "chunked", head.version == .http1_1 else {
                throw Refusal(rule: .notHTTP, why: "a Transfer-Encoding other than chunked")
            }
        }
        if !lengths.isEmpty {
            guard lengths.count == 1, (1...18).contains(lengths[0].utf8.count),
                lengths[0].utf8.allSatisfy({ (48...57).contains($0) })
            else { throw Refusal(rule: .notHTTP, why: "a Content-Length that is no number") }
        }
    }

    private static func authority(of uri: String) -> String? {
        guard let range = uri.firstRange(of: "://") else { return nil }
        return String(uri[range.upperBound...].prefix { $0 != "/" && $0 != "?" }.prefix(255))
    }

    /// Header fields that say how a message is carried, which no Connection header may take out.
    private static let carriers: Set<String> = [
        "host", "content-length", "transfer-encoding", "authorization", "cookie", "expect",
    ]

    /// A checked request as it is written again.
    static func forwarded(_ head: HTTPRequestHead) -> Forwarded {
        var result = Forwarded(head: head)
        let options = head.headers[canonicalForm: "connection"].map { $0.lowercased() }
        let upgrades = head.headers[canonicalForm: "upgrade"].map { $0.lowercased() }
        let asksForUpgrade = options.contains("upgrade") && !upgrades.isEmpty
        result.isWebSocket =
            asksForUpgrade && upgrades == ["websocket"] && head.method == .GET && head.version == .http1_1
            && !head.headers.contains(name: "content-length") && !head.headers.contains(name: "transfer-encoding")
        // Whoever asks to go on in another protocol may send that right behind: it is not read as HTTP.
        result.isLast = asksForUpgrade || options.contains("close")

        var headers = head.headers
        for option in options where !carriers.contains(String(option)) { headers.remove(name: String(option)) }
        for name in ["connection", "proxy-connection", "keep-alive", "upgrade", "http2-settings", "te", "trailer"] {
            headers.remove(name: name)
        }
        if result.isWebSocket {
            headers.add(name: "Connection", value: "Upgrade")
            headers.add(name: "Upgrade", value: "websocket")
        } else if result.isLast {
            headers.add(name: "Connection", value: "close")
        } else if head.version == .http1_0, options.contains("keep-alive") {
            headers.add(name: "Connection", value: "keep-alive")
        }
        if headers.contains(name: "transfer-encoding") {
            headers.replaceOrAdd(name: "Transfer-Encoding", value: "chunked")
        }
        result.head.headers = headers
        return result
    }
}
