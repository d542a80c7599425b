import ControlPlane
import MartletAPI
import SandboxModel
import Testing

@testable import Server

/// What a request has to become on its way, and an answer on its way back.
@Suite("Previews")
struct PreviewTests {
    /// Tells what it was sent, as the body.
    private static let mirror: @Sendable (String, String) -> String = { head, body in HTTPText.answer(head + body) }

    @Test("By host name with a token in a header: the sandbox sees the request without it")
    func byHost() async throws {
        try await LiveServer.with { live in
            try await GuestService.answering(PreviewTests.mirror) { service in
                let id = try await live.fixture.create()
                let published = try await live.publish(id, service.port)
                let token = try #require(published.token)
                let host = live.host(id, service.port)
                let answer = try await live.get(
                    "/a/b?x=1&martlet_token=\(token)&y=%20", host: host,
                    fields: """
                        X-Martlet-Token: \(token)\r\nCookie: a=1; martlet_token=\(token); b=2\r\n\
                        Authorization: Bearer \(live.fixture.key)\r\nX-API-Key: \(live.fixture.key)\r\n\
                        Referer: http://\(host)/?martlet_token=\(token)\r\nX-Forwarded-For: 6.6.6.6\r\n\
                        X_Forwarded_Host: evil\r\nForwarded: for=6.6.6.6\r\nX-Custom: kept\r\n
                        """)
                #expect(answer.hasPrefix("HTTP/1.1 200 OK\r\n"))
                #expect(answer.contains("GET /a/b?x=1&y=%20 HTTP/1.1\r\n"))
                #expect(answer.contains("\r\nHost: \(host)\r\n"))
                #expect(answer.contains("\r\nCookie: a=1; b=2\r\n"))
                #expect(answer.contains("\r\nX-Custom: kept\r\n"))
                #expect(answer.contains("\r\nX-Forwarded-For: 127.0.0.1\r\n"))
                #expect(answer.contains("\r\nForwarded: for=127.0.0.1;host=\"\(host)\";proto=http\r\n"))
                #expect(!answer.contains(token) && !answer.contains(live.fixture.key))
                #expect(!answer.contains("6.6.6.6") && !answer.contains("evil"))
                // The page is of an origin of its own: nothing has to be taken from it.
                #expect(!answer.contains("Content-Security-Policy"))
            }
        }
    }

    @Test("An application's own credentials pass, those of ours do not")
    func ownCredentials() async throws {
        try await LiveServer.with { live in
            try await GuestService.answering(PreviewTests.mirror) { service in
                let id = try await live.fixture.create()
                _ = try await live.publish(id, service.port, visibility: .public)
                let answer = try await live.get(
                    "/", host: live.host(id, service.port),
                    fields: "Authorization: Bearer theirs\r\nX-API-Key: theirs too\r\n")
                #expect(answer.contains("Authorization: Bearer theirs\r\n"))
                #expect(answer.contains("X-API-Key: theirs too\r\n"))
            }
        }
    }

    @Test("By path with the owner's key: the sandbox is its own host, and its page of no origin")
    func byPath() async throws {
        try await LiveServer.with { live in
            try await GuestService.answering({ head, _ in
                HTTPText.answer(
                    head,
                    fields: """
                        Set-Cookie: a=1\r\nContent-Security-Policy: default-src *\r\nClear-Site-Data: "*"\r\n\
                        Location: /next\r\nX-Martlet-Error: port_closed\r\nConnection: X-Secret\r\nX-Secret: 1\r\n
                        """)
            }) { service in
                let id = try await live.fixture.create(.init(name: "web"))
                _ = try await live.publish(id, service.port)
                for sandbox in [id, "web"] {
                    let prefix = "/v1/sandboxes/\(sandbox)/ports/\(service.port)"
                    let answer = try await live.ask(live.head("GET \(prefix)/x?y=1", "Connection: close\r\n"))
                    #expect(answer.contains("GET /x?y=1 HTTP/1.1\r\nHost: localhost:\(service.port)\r\n"))
                    #expect(answer.contains("X-Forwarded-Prefix: \(prefix)\r\n"))
                    #expect(answer.contains("Content-Security-Policy: default-src *\r\n"))
                    #expect(answer.contains("Content-Security-Policy: sandbox allow-"))
                    #expect(!answer.contains("allow-same-origin"))
                    #expect(answer.contains("Location: \(prefix)/next\r\n"))
                    for gone in ["Set-Cookie", "Clear-Site-Data", "X-Martlet-Error", "X-Secret", live.fixture.key] {
                        #expect(!answer.contains(gone), "\(gone)")
                    }
                }
            }
        }
    }

    @Test("A browser's token moves from the address into a cookie")
    func cookie() async throws {
        try await LiveServer.with { live in
            try await GuestService.answering({ head, _ in
                HTTPText.answer(
                    head, fields: "Set-Cookie: martlet_token=stolen\r\nSet-Cookie: a=1; Domain=localhost; Path=/\r\n")
            }) { service in
                let id = try await live.fixture.create()
                let token = try #require(try await live.publish(id, service.port).token)
                let host = live.host(id, service.port)
                let prefix = "/v1/sandboxes/\(id)/ports/\(service.port)"
                let html = "Accept: text/html,*/*\r\n"
                let byHost = try await live.get("//evil.example/?martlet_token=\(token)&q=1", host: host, fields: html)
                #expect(byHost.hasPrefix("HTTP/1.1 303"))
                #expect(byHost.contains("Location: http://\(host)//evil.example/?q=1\r\n"))
                #expect(byHost.contains("Set-Cookie: martlet_token=\(token); Path=/; HttpOnly; SameSite=Lax; Max-Age="))
                let byPath = try await live.get("\(prefix)/p?martlet_token=\(token)", host: "x", fields: html)
                #expect(byPath.contains("Location: \(prefix)/p\r\n"))
                #expect(byPath.contains("Path=\(prefix)/; HttpOnly"))
                let inside = try await live.get("/p", host: host, fields: "Cookie: martlet_token=\(token)\r\n")
                #expect(inside.hasPrefix("HTTP/1.1 200"))
                #expect(!inside.contains("Cookie: martlet_token"))
                // What the sandbox sets is for this host name alone, and not in place of ours.
                #expect(inside.contains("Set-Cookie: a=1; Path=/\r\n"))
                #expect(!inside.contains("stolen"))
                // Programs are answered at once.
                #expect(try await live.get("/?martlet_token=\(token)", host: host).hasPrefix("HTTP/1.1 200"))
            }
        }
    }

    @Test("Each way of not getting in is told apart, to programs and to people")
    func refusals() async throws {
        try await LiveServer.with { live in
            try await GuestService.answering(PreviewTests.mirror) { service in
                let (id, other) = (try await live.fixture.create(), try await live.fixture.create())
                let (host, otherHost) = (live.host(id, service.port), live.host(other, service.port))
                let old = try #require(try await live.publish(id, service.port).token)
                _ = try await live.publish(id, service.port)
                let theirs = try #require(try await live.publish(other, service.port).token)
                // Port 1 (tcpmux) is nobody's.
                _ = try await live.publish(id, 1, visibility: .public)
                let cases: [(String, String, Int, String)] = [
                    (live.host("s0000000000000000000", 80), "", 404, "not_found"),
                    ("80-nonsense.localhost", "", 404, "not_found"), ("99999-\(id).localhost", "", 404, "not_found"),
                    (live.host(id, 7), "", 404, "not_published"), (host, "", 401, "token_missing"),
                    (host, "X-Martlet-Token: \(old)\r\n", 403, "token_invalid"),
                    (host, "X-Martlet-Token: \(theirs)\r\n", 403, "token_invalid"),
                    // A key is for the API's own paths.
                    (host, "Authorization: Bearer \(live.fixture.key)\r\n", 401, "token_missing"),
                    (live.host(id, 1), "", 503, "port_closed"),
                ]
                for (host, fields, status, reason) in cases {
                    let answer = try await live.get("/", host: host, fields: fields)
                    #expect(answer.hasPrefix("HTTP/1.1 \(status) "), "\(host) \(answer.prefix(60))")
                    #expect(HTTPText.field("X-Martlet-Error", in: answer) == reason)
                    #expect(answer.contains("\"error\":{\"code\":"))
                    let page = try await live.get("/", host: host, fields: fields + "Accept: text/html\r\n")
                    #expect(page.hasPrefix("HTTP/1.1 \(status) "))
                    #expect(page.contains("<!doctype html>") && page.contains("default-src 'none'"))
                }
                let theirAnswer = try await live.get("/", host: otherHost, fields: "X-Martlet-Token: \(theirs)\r\n")
                #expect(theirAnswer.hasPrefix("HTTP/1.1 200"))
            }
        }
    }

    @Test("Someone else's key does not open a sandbox's port, and does not find it by name")
    func otherOwner() async throws {
        try await LiveServer.with { live in
            try await GuestService.answering(PreviewTests.mirror) { service in
                let id = try await live.fixture.create(.init(name: "web"))
                _ = try await live.publish(id, service.port)
                let key = try await live.fixture.plane.keys.make(label: "other", isAdmin: false)
                let fields = "Authorization: Bearer \(key)\r\n"
                let byID = try await live.get("/v1/sandboxes/\(id)/ports/\(service.port)/", host: "x", fields: fields)
                #expect(HTTPText.field("X-Martlet-Error", in: byID) == "token_missing")
                let byName = try await live.get("/v1/sandboxes/web/ports/\(service.port)/", host: "x", fields: fields)
                #expect(HTTPText.field("X-Martlet-Error", in: byName) == "not_found")
                let tunnel = try await live.get("/v1/sandboxes/\(id)/tunnel?port=1", host: "x", fields: fields)
                #expect(tunnel.hasPrefix("HTTP/1.1 426"))
            }
        }
    }

    @Test("No route of the API is served at a preview's host, and no preview at the API's")
    func origins() async throws {
        try await LiveServer.with { live in
            try await GuestService.answering(PreviewTests.mirror) { service in
                let id = try await live.fixture.create()
                _ = try await live.publish(id, service.port, visibility: .public)
                let host = live.host(id, service.port)
                for path in ["/v1/host", "/healthz", "/metrics", "/v1/sandboxes/\(id)/tunnel?port=1"] {
                    let answer = try await live.get(
                        path, host: host, fields: "Authorization: Bearer \(live.fixture.key)\r\n")
                    #expect(answer.contains("GET \(path) HTTP/1.1\r\nHost: \(host)"), "\(path)")
                }
                let upper = try await live.get("/x", host: host.uppercased() + "")
                #expect(upper.contains("GET /x HTTP/1.1"))
                let elsewhere = try await live.get("/healthz", host: "\(service.port).localhost")
                #expect(elsewhere.contains("\"ok\""))
                // An absolute target names the host as well.
                let absolute = try await live.get("http://\(host)/healthz", host: "localhost")
                #expect(absolute.hasPrefix("HTTP/1.1 400"))
            }
        }
    }

    @Test("Bodies pass in every framing, and answers keep theirs")
    func framings() async throws {
        try await LiveServer.with { live in
            try await GuestService.answering({ head, body in
                switch String(head.split(separator: " ")[1]) {
                case "/none": "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n"
                case "/same": "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"
                case "/chunked":
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\nTrailer: T\r\n\r\n"
                        + "5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nT: 1\r\n\r\n"
                case "/end": "HTTP/1.0 200 Fine\nX: y\n\nto the end"
                default: HTTPText.answer(head.contains("HEAD ") ? "" : body, fields: "X-Length: \(body.utf8.count)\r\n")
                }
            }) { service in
                let id = try await live.fixture.create()
                _ = try await live.publish(id, service.port, visibility: .public)
                let host = live.host(id, service.port)
                let sized = try await live.ask(
                    "POST / HTTP/1.1\r\nHost: \(host)\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello")
                #expect(sized.hasSuffix("\r\n\r\nhello"))
                let chunked = try await live.ask(
                    "POST / HTTP/1.1\r\nHost: \(host)\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
                        + "3\r\nabc\r\n2;ext=1\r\nde\r\n0\r\n\r\n")
                #expect(chunked.contains("abc") && chunked.contains("de\r\n0\r\n\r\n"))
                #expect(!chunked.contains("ext=1"))
                let none = try await live.get("/none", host: host)
                #expect(none.hasPrefix("HTTP/1.1 204") && HTTPText.field("content-length", in: none) == nil)
                let same = try await live.get("/same", host: host)
                #expect(same.hasPrefix("HTTP/1.1 304") && HTTPText.field("content-length", in: same) == "5")
                let pieces = try await live.get("/chunked", host: host)
                #expect(pieces.hasSuffix("\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n"))
                #expect(HTTPText.field("content-length", in: pieces) == nil)
                let end = try await live.get("/end", host: host)
                #expect(end.hasPrefix("HTTP/1.1 200 Fine\r\n") && end.hasSuffix("a\r\nto the end\r\n0\r\n\r\n"))
                // HTTP/1.0 has no chunks.
                let old = try await live.ask("GET /end HTTP/1.0\r\nHost: \(host)\r\n\r\n")
                #expect(old.hasSuffix("\r\n\r\nto the end"))
                let head = try await live.get("/", host: host, method: "HEAD")
                #expect(head.hasPrefix("HTTP/1.1 200") && head.hasSuffix("\r\n\r\n"))
            }
        }
    }

    @Test("What is no HTTP is told, and half an answer is not passed off as a whole one")
    func badAnswers() async throws {
        try await LiveServer.with { live in
            try await GuestService.answering({ head, _ in
                switch String(head.split(separator: " ")[1]) {
                case "/empty": ""
                case "/noise": "220 mail.example.com ESMTP\r\n\r\n"
                case "/injection": "HTTP/1.1 200 OK\r\nA: b\rSet-Cookie: x=y\r\n\r\n"
                case "/lengths": "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"
                case "/coding": "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"
                case "/switch": "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"
                case "/short": "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello"
                default: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nZZ\r\n"
                }
            }) { service in
                let id = try await live.fixture.create()
                _ = try await live.publish(id, service.port, visibility: .public)
                let host = live.host(id, service.port)
                for path in ["/empty", "/noise", "/injection", "/lengths", "/coding", "/switch"] {
                    let answer = try await live.get(path, host: host)
                    #expect(answer.hasPrefix("HTTP/1.1 503"), "\(path)")
                    #expect(HTTPText.field("X-Martlet-Error", in: answer) == "bad_answer", "\(path)")
                    #expect(!answer.contains("Set-Cookie"))
                }
                let short = try await live.get("/short", host: host)
                #expect(short.contains("Content-Length: 50") && short.hasSuffix("hello"))
                let broken = try await live.get("/chunks", host: host)
                #expect(broken.contains("hello") && !broken.hasSuffix("0\r\n\r\n"))
            }
        }
    }

    @Test("Nothing of a second request gets through in the first one")
    func smuggling() async throws {
        try await LiveServer.with { live in
            try await GuestService.answering(PreviewTests.mirror) { service in
                let id = try await live.fixture.create()
                _ = try await live.publish(id, service.port, visibility: .public)
                let host = live.host(id, service.port)
                let start = "POST / HTTP/1.1\r\nHost: \(host)\r\nConnection: close\r\n"
                let attempts = [
                    "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n",
                    "Content-Length: 5\r\nContent-Length: 60\r\n\r\nhelloGET /smuggled HTTP/1.1\r\n\r\n",
                    "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n",
                    "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n",
                    "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n",
                    "X: a\r\n Content-Length: 99\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n",
                    "X: a\u{0}b\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n",
                    "Content-Length: +5\r\n\r\nhelloGET /smuggled HTTP/1.1\r\n\r\n",
                    "Transfer-Encoding: chunked\r\n\r\n5\nhello\n0\n\nGET /smuggled HTTP/1.1\r\n\r\n",
                    "Host: other\r\nContent-Length: 0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n",
                ]
                for attempt in attempts {
                    let answer = try await live.ask(start + attempt)
                    #expect(!answer.contains("GET /smuggled HTTP/1.1\r\nHost"), "\(attempt)")
                    if answer.hasPrefix("HTTP/1.1 200") {
                        // Taken as one request: the service was told one length, and it was that of what it got.
                        #expect(answer.components("POST / HTTP/1.1") == 2, "\(attempt)")
                    }
                }
            }
        }
    }
}

extension String {
    /// How many pieces another text cuts it into.
    fileprivate func components(_ separator: String) -> Int {
        var rest = Array(utf8)[...]
        var count = 1
        while let found = rest.firstRange(of: Array(separator.utf8)) {
            count += 1
            rest = rest[found.upperBound...]
        }
        return count
    }
}
