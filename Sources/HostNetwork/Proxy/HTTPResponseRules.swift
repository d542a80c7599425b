import NIOHTTP1

/// How an answer is written again for the guest. Pure.
enum HTTPResponseRules {
    /// An answer as it is passed on.
    struct Forwarded: Equatable {
        var head: HTTPResponseHead
        /// Whether nothing but the head belongs to it, whatever its headers say (RFC 9112 section 6.3).
        var hasNoBody: Bool
        /// Whether the connection ends with it.
        var isLast: Bool
    }

    /// An answer whose length nobody could tell.
    struct Unreadable: Error, Equatable {
        var why: String
    }

    static func forwarded(
        _ head: HTTPResponseHead, method: HTTPMethod, version: HTTPVersion, isLast: Bool
    ) throws(Unreadable) -> Forwarded {
        let code = head.status.code
        var result = Forwarded(
            head: head, hasNoBody: method == .HEAD || code == 204 || code == 304, isLast: isLast)
        var headers = head.headers
        let options = headers[canonicalForm: "connection"].map { $0.lowercased() }
        if options.contains("close") || head.version == .http1_0 && !options.contains("keep-alive") {
            result.isLast = true
        }
        for name in ["connection", "keep-alive", "proxy-connection"] { headers.remove(name: name) }

        let codings = headers[canonicalForm: "transfer-encoding"].map { $0.lowercased() }
        if !result.hasNoBody {
            if !codings.isEmpty {
                guard codings == ["chunked"] else { throw Unreadable(why: "a Transfer-Encoding other than chunked") }
                headers.remove(name: "content-length")
                headers.remove(name: "transfer-encoding")
                if version == .http1_1 {
                    headers.add(name: "Transfer-Encoding", value: "chunked")
                } else {
                    result.isLast = true
                }
            } else if !headers.contains(name: "content-length") {
                // Its end is that of the connection.
                result.isLast = true
            }
        }
        if result.isLast {
            headers.add(name: "Connection", value: "close")
        } else if version == .http1_0 {
            headers.add(name: "Connection", value: "keep-alive")
        }
        // Each side of this proxy is a connection of its own: it speaks the guest's version there.
        result.head.version = version == .http1_0 ? .http1_0 : .http1_1
        result.head.headers = headers
        return result
    }
}
