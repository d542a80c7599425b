import E2BProtocol
import HTTPTypes
import NIOHTTP1
import SandboxModel

/// How a preview is addressed.
enum PreviewForm: Sendable, Equatable {
    /// By a host name of its own; with the `Host` as it was sent.
    case host(String)
    /// Below the sandbox's path of the API, which is this.
    case path(String)
    /// By header fields, as E2B's clients do where sandboxes have no host names.
    case headers
}

/// Which port of which sandbox is asked for, and how.
struct PreviewPlace: Sendable, Equatable {
    let form: PreviewForm
    let sandbox: String
    let port: UInt16
    /// Whether a client of E2B asks, which wants failures told in E2B's shape.
    var speaksE2B = false
}

/// What a request that the routes do not get is for.
enum PreviewDestination: Sendable, Equatable {
    case preview(PreviewPlace)
    /// A raw connection for the owner.
    case tunnel(sandbox: String)
}

/// Tells requests for previews and tunnels from those for the API.
struct PreviewRouting: Sendable {
    enum Decision {
        case api
        /// `target` is path and query as the sandbox is to see them, the token still in it.
        case taken(PreviewDestination, target: String)
        case refused(MartletError)
    }

    /// A route that is served here and not by the router, for those who describe the API.
    struct Route: Sendable {
        let method: HTTPRequest.Method
        let path: String
        let summary: String
    }

    static let tunnelProtocol = "martlet-tcp"

    /// Every route that is taken out before the router sees it. A preview takes any other method too.
    static let routes: [Route] =
        [HTTPRequest.Method.get, .head, .post, .put, .patch, .delete, .options].map {
            Route(method: $0, path: "/v1/sandboxes/{id}/ports/{port}/{path}", summary: "What a published port serves.")
        } + [
            Route(
                method: .get, path: "/v1/sandboxes/{id}/tunnel", summary: "A raw connection to any port, for the owner."
            )
        ]

    /// nil where there are no host names for previews: on the unix socket.
    let domain: PreviewDomain?

    static func prefix(sandbox: String, port: UInt16) -> String { "/v1/sandboxes/\(sandbox)/ports/\(port)" }

    func decision(on head: HTTPRequestHead) -> Decision {
        let hosts = head.headers["host"]
        // RFC 9112, section 3.2: whom would it be for?
        guard hosts.count <= 1 else {
            return .refused(.invalid("Host", "is given more than once"))
        }
        if let domain {
            let hostsToLookAt = hosts + [PreviewRouting.authority(of: head.uri)].compactMap { $0 }
            if let host = hostsToLookAt.lazy.compactMap(domain.host).first {
                return byHost(host, head: head, authority: hosts.first ?? "")
            }
        }
        return byHeaders(head) ?? byPath(head)
    }

    /// nil for a request that names no port this way, or one that is answered from outside.
    private func byHeaders(_ head: HTTPRequestHead) -> Decision? {
        guard let sandbox = head.headers.first(name: HTTPField.Name.e2bSandbox.rawName),
            let port = head.headers.first(name: HTTPField.Name.e2bPort.rawName).flatMap(UInt16.init), port > 0,
            port != E2BConstants.envdPort
        else { return nil }
        guard head.uri.hasPrefix("/"), PreviewRouting.isClean(head.uri) else {
            return .refused(.invalid("request", "a sandbox's port takes a path as its target, such as /"))
        }
        let place = PreviewPlace(form: .headers, sandbox: String(sandbox.prefix(64)), port: port, speaksE2B: true)
        return .taken(.preview(place), target: head.uri)
    }

    private func byHost(_ host: PreviewHost, head: HTTPRequestHead, authority: String) -> Decision {
        // What E2B's daemon in a sandbox would offer there is offered by this one, from outside.
        if host.port == E2BConstants.envdPort { return .api }
        guard head.uri.hasPrefix("/"), PreviewRouting.isClean(head.uri) else {
            return .refused(.invalid("request", "a preview takes a path as its target, such as /"))
        }
        guard let port = host.port, port > 0 else {
            return .refused(MartletError(.notFound, "port: the host's name does not begin with a port from 1 to 65535"))
        }
        let place = PreviewPlace(
            form: .host(authority), sandbox: host.sandbox, port: port,
            speaksE2B: head.headers.contains(name: HTTPField.Name.e2bSandbox.rawName))
        return .taken(.preview(place), target: head.uri)
    }

    private func byPath(_ head: HTTPRequestHead) -> Decision {
        let (path, query) = PreviewRouting.split(head.uri)
        let parts = path.split(separator: "/", maxSplits: 6, omittingEmptySubsequences: false)
        guard parts.count >= 5, parts[0].isEmpty, parts[1] == "v1", parts[2] == "sandboxes", !parts[3].isEmpty,
            parts[3].utf8.allSatisfy(PreviewRouting.isNameByte)
        else { return .api }
        let sandbox = String(parts[3])
        if parts.count == 5, parts[4] == "tunnel", head.method == .GET {
            return .taken(.tunnel(sandbox: sandbox), target: query.map(String.init) ?? "")
        }
        guard parts.count == 7, parts[4] == "ports", let port = UInt16(parts[5]), port > 0, parts[5] == "\(port)" else {
            return .api
        }
        guard PreviewRouting.isClean(head.uri) else {
            return .refused(.invalid("request", "its target holds what no target may hold"))
        }
        let prefix = PreviewRouting.prefix(sandbox: sandbox, port: port)
        return .taken(
            .preview(PreviewPlace(form: .path(prefix), sandbox: sandbox, port: port)),
            target: String(head.uri.dropFirst(prefix.count)))
    }

    /// Path and query of a target.
    static func split(_ target: String) -> (path: Substring, query: Substring?) {
        guard let mark = target.firstIndex(of: "?") else { return (target[...], nil) }
        return (target[..<mark], target[target.index(after: mark)...])
    }

    /// The authority in a target of the absolute form (RFC 9112, section 3.2.2), or that of a CONNECT.
    private static func authority(of target: String) -> String? {
        guard !target.hasPrefix("/"), target != "*" else { return nil }
        let rest = target.range(of: "://").map { target[$0.upperBound...] } ?? target[...]
        return String(rest.prefix { $0 != "/" && $0 != "?" && $0 != "#" }.split(separator: "@").last ?? "")
    }

    private static func isNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"): true
        default: false
        }
    }

    /// Whether a target can stand in a request line.
    private static func isClean(_ target: String) -> Bool { target.utf8.allSatisfy { $0 > 32 && $0 != 127 } }
}

extension String {
    /// Where a short text stands, without Foundation.
    fileprivate func range(of text: String) -> Range<Index>? {
        var start = startIndex
        while start < endIndex {
            if self[start...].hasPrefix(text) {
                return start..<(index(start, offsetBy: text.count))
            }
            start = index(after: start)
        }
        return nil
    }
}
