import NIOCore
import NIOHTTP1
import SandboxModel
import Testing

@testable import Server

@Suite("The parts of previews")
struct PreviewUnitTests {
    private let id = "s4k2m9x7c1q8w5e3r6ty"

    // MARK: Where a request goes

    @Test("A domain is read with its scheme and port, and told back in addresses")
    func domains() throws {
        let sandbox = try #require(SandboxID(rawValue: id))
        let cases: [(String, String)] = [
            ("localhost", "http://80-\(id).localhost:7070/"),
            ("Preview.Example.com", "http://80-\(id).preview.example.com:7070/"),
            ("https://p.example.com", "https://80-\(id).p.example.com/"),
            ("https://p.example.com:8443", "https://80-\(id).p.example.com:8443/"),
            ("http://p.example.com:80", "http://80-\(id).p.example.com/"),
        ]
        for (text, url) in cases {
            #expect(try PreviewDomain(parsing: text).url(port: 80, sandbox: sandbox, listening: 7070) == url)
        }
        for text in [
            "", "a..b", "-a", "a b", "a/b", "ftp://a", "a:0", "a:99999", "a:b", "*.a", "a_b",
            String(repeating: "a", count: 64),
        ] {
            #expect(throws: MartletError.self, "\(text)") { try PreviewDomain(parsing: text) }
        }
    }

    @Test("Host names of previews are told from all others")
    func hosts() throws {
        let domain = try PreviewDomain(parsing: "p.example.com")
        #expect(domain.host("80-\(id).p.example.com") == PreviewHost(port: 80, sandbox: id))
        #expect(domain.host("80-\(id.uppercased()).P.Example.COM.:7070") == PreviewHost(port: 80, sandbox: id))
        #expect(domain.host("80-\(id)-node.p.example.com") == PreviewHost(port: 80, sandbox: id))
        #expect(domain.host("70000-x.p.example.com") == PreviewHost(port: nil, sandbox: "x"))
        for host in [
            "p.example.com", "api.p.example.com", "80.p.example.com", "-x.p.example.com", "a.80-x.p.example.com",
            "80-x.p.example.com.evil.org", "80-x.example.com", "80-x.p.example.com:80:80x", "", "80-xp.example.com",
        ] {
            #expect(domain.host(host) == nil, "\(host)")
        }
    }

    private func decision(
        _ uri: String, method: HTTPMethod = .GET, host: String = "localhost", headers: HTTPHeaders = [:]
    ) -> String {
        var headers = headers
        headers.add(name: "Host", value: host)
        let head = HTTPRequestHead(version: .http1_1, method: method, uri: uri, headers: headers)
        switch PreviewRouting(domain: .standard).decision(on: head) {
        case .api: return "api"
        case .refused(let error): return error.code.rawValue
        case .taken(.tunnel(let sandbox), let query): return "tunnel \(sandbox) \(query)"
        case .taken(.preview(let place), let target): return "\(place.sandbox) \(place.port) \(target)"
        }
    }

    @Test(
        "Ports named in header fields are served by the sandbox, but for the one that is served from outside",
        arguments: [
            ("49999", "sabc 49999 /execute"), ("1", "sabc 1 /execute"), ("49983", "api"), ("0", "api"), ("x", "api"),
            ("65536", "api"), ("", "api"),
        ])
    func headers(port: String, expected: String) {
        let fields: HTTPHeaders = ["E2b-Sandbox-Id": "sabc", "E2b-Sandbox-Port": port]
        #expect(decision("/execute", headers: fields) == expected)
    }

    @Test("A host name goes before header fields")
    func hostFirst() {
        let fields: HTTPHeaders = ["E2b-Sandbox-Id": "sother", "E2b-Sandbox-Port": "1"]
        #expect(decision("/x", host: "80-sabc.localhost", headers: fields) == "sabc 80 /x")
    }

    @Test("Tokens that E2B's clients send stay outside")
    func sandboxTokens() {
        let fields: HTTPHeaders = [
            "E2b-Sandbox-Id": "sabc", "X-Access-Token": "one", "E2b-Traffic-Access-Token": "two", "X-Other": "three",
        ]
        let secrets = PreviewSecrets(target: "/", headers: fields)
        #expect(secrets.sandboxTokens == ["one", "two"])
        #expect(secrets.headers.map(\.name) == ["E2b-Sandbox-Id", "X-Other"])
        let others = PreviewSecrets(target: "/", headers: ["X-Access-Token": "an application's own"])
        #expect(others.sandboxTokens.isEmpty)
        #expect(others.headers.count == 1)
    }

    @Test("Paths of previews and tunnels are told from the routes of the API")
    func paths() {
        #expect(decision("/v1/sandboxes/web/ports/80/") == "web 80 /")
        #expect(decision("/v1/sandboxes/web/ports/80/a//b/../?x=/y") == "web 80 /a//b/../?x=/y")
        #expect(decision("/v1/sandboxes/web/ports/80//evil") == "web 80 //evil")
        #expect(decision("/v1/sandboxes/web/ports/80/", method: .DELETE) == "web 80 /")
        #expect(decision("/v1/sandboxes/web/tunnel?port=80") == "tunnel web port=80")
        for uri in [
            "/v1/sandboxes/web/ports/80", "/v1/sandboxes/web/ports", "/v1/sandboxes/web/ports/80?x",
            "/v1/sandboxes//ports/80/",
            "/v1/sandboxes/web/ports/0/", "/v1/sandboxes/web/ports/080/", "/v1/sandboxes/web/ports/+80/",
            "/v1/sandboxes/web/ports/65536/", "/v1/sandboxes/%77eb/ports/80/", "/v2/sandboxes/web/ports/80/",
            "//v1/sandboxes/web/ports/80/", "/v1/sandboxes/web/tunnel/", "/v1/sandboxes/web/tunnels", "*",
        ] {
            #expect(decision(uri) == "api", "\(uri)")
        }
        #expect(decision("/v1/sandboxes/web/tunnel", method: .POST) == "api")
        #expect(decision("/v1/host", host: "80-\(id).localhost") == "\(id) 80 /v1/host")
        #expect(decision("/health", host: "49983-\(id).localhost") == "api")
        #expect(decision("http://80-\(id).localhost/", host: "localhost") == "invalid_argument")
        #expect(decision("80-\(id).localhost:80", method: .CONNECT, host: "localhost") == "invalid_argument")
    }

    // MARK: Secrets

    @Test("Tokens and keys are found wherever they stand, and nothing of them is left")
    func secrets() {
        let secrets = PreviewSecrets(
            target: "/p?martlet_token=t1&a=b&martlet%5Ftoken=t%32&&c",
            headers: [
                "X-Martlet-Token": "t3", "Cookie": "x=y;martlet_token=t4 ; martlet_token=\"t5\"; z",
                "cookie": "martlet_token=t6",
                "Authorization": "bearer   mk_1", "x-api-key": "mk_2", "Referer": "http://h/?a=b&martlet_token=t1",
                "X-Kept": "1",
            ])
        #expect(secrets.tokens == ["t3", "t1", "t2", "t4", "t5", "t6"])
        #expect(secrets.keys == ["mk_1", "mk_2"])
        #expect(secrets.hasQueryToken)
        #expect(secrets.target == "/p?a=b&&c")
        #expect(secrets.headers.map(\.name) == ["Cookie", "X-Kept"])
        #expect(secrets.headers["cookie"] == ["x=y; z"])
        let none = PreviewSecrets(target: "/?q=martlet_token", headers: ["Referer": "http://h/?q=1"])
        #expect(none.tokens.isEmpty && !none.hasQueryToken && none.target == "/?q=martlet_token")
        #expect(none.headers["referer"] == ["http://h/?q=1"])
        let many = String(repeating: "martlet_token=x&", count: 1000)
        #expect(PreviewSecrets(target: "/?" + many, headers: [:]).tokens.count == 8)
    }

    // MARK: Redirects

    @Test("Redirects stay below the sandbox's path, whatever they try")
    func locations() {
        let prefix = "/v1/sandboxes/web/ports/80"
        let request = HTTPRequestHead(
            version: .http1_1, method: .GET, uri: prefix + "/a/b/c?q", headers: ["Host": "api.example:7070"])
        let confinement = LocationConfinement(prefix: prefix, port: 80, request: request)
        let cases: [(String, String)] = [
            ("/x?y#z", "\(prefix)/x?y#z"), ("x", "\(prefix)/a/b/x"), ("../x", "\(prefix)/a/x"),
            ("?q", "\(prefix)/a/b/c?q"),
            ("", "\(prefix)/a/b/c"), (".", "\(prefix)/a/b/"), ("/", "\(prefix)/"),
            ("/../../../host", "\(prefix)/host"), ("../../../../../../host", "\(prefix)/host"),
            ("/%2e%2E/.%2e/host", "\(prefix)/host"), ("\\..\\..\\..\\host", "\(prefix)/host"), ("/a/..", "\(prefix)/"),
            ("..\t/../../host", "\(prefix)/host"), ("//api.example:7070/v1/host", "\(prefix)/v1/host"),
            ("http://api.example:7070/v1/host", "\(prefix)/v1/host"), ("HTTP:\\\\API.example:7070\\v1", "\(prefix)/v1"),
            ("http:/v1/host", "http://v1/host"), ("http://u@api.example:7070/x", "\(prefix)/x"),
            ("http://localhost:80/x/../y", "\(prefix)/y"), ("http://api.example:7070", "\(prefix)/"),
            ("https://login.example.org/?to=/v1", "https://login.example.org/?to=/v1"), ("mailto:a@b", "mailto:a@b"),
            ("///api.example:7070/v1", "\(prefix)/v1"),
        ]
        for (location, expected) in cases { #expect(confinement.confined(location) == expected, "\(location)") }
    }

    @Test("A sandbox's cookies are for their own host name, and never in place of ours")
    func cookies() {
        #expect(
            ForwardedAnswer.confinedCookie("a=b; Domain=localhost; Path=/; domain = x;HttpOnly")
                == "a=b; Path=/;HttpOnly")
        #expect(ForwardedAnswer.confinedCookie("domain=b; Secure") == "domain=b; Secure")
        #expect(ForwardedAnswer.confinedCookie(" martlet_token = x; Path=/") == nil)
        #expect(ForwardedAnswer.confinedCookie("martlet_tokens=x") == "martlet_tokens=x")
    }

    // MARK: Answers

    private static let answer =
        "\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nA:  b \r\nTransfer-Encoding: chunked\r\n\r\n"
        + "3;x\r\nabc\r\nA\r\n0123456789\r\n0\r\nT: u\r\n\r\nextra"

    private func parsed(_ pieces: [[UInt8]], isHead: Bool = false, ends: Bool = true) throws -> (String, String) {
        var parser = AnswerParser(isHeadRequest: isHead)
        var (heads, body) = ("", "")
        func take(_ item: AnswerParser.Item?) {
            switch item {
            case .informational(let head): heads += "\(head.status.code) "
            case .head(let head, let framing): heads += "\(head.status.code) \(head.headers["a"]) \(framing) "
            case .body(let bytes): body += String(buffer: bytes)
            case .end: heads += "end"
            case nil: break
            }
        }
        for piece in pieces {
            parser.feed(piece)
            while let item = try parser.next() { take(item) }
        }
        if ends { take(try parser.finish()) }
        return (heads, body)
    }

    @Test("An answer is read the same however it is cut")
    func cuts() throws {
        let bytes = Array(PreviewUnitTests.answer.utf8)
        let whole = try parsed([bytes])
        #expect(whole.0 == "103 200 [\"b\"] chunked end")
        #expect(whole.1 == "abc0123456789")
        for cut in 1..<bytes.count { #expect(try parsed([Array(bytes[..<cut]), Array(bytes[cut...])]) == whole) }
        #expect(try parsed(bytes.map { [$0] }) == whole)
    }

    @Test("How a body ends is what RFC 9112 says")
    func framings() throws {
        func framing(_ head: String, isHead: Bool = false) throws -> String {
            try parsed([Array((head + "\r\n\r\n").utf8)], isHead: isHead, ends: false).0
        }
        #expect(try framing("HTTP/1.1 200 OK\r\nContent-Length: 5").contains("length(5)"))
        #expect(try framing("HTTP/1.1 200 OK\r\nContent-Length: 5, 5").contains("length(5)"))
        #expect(try framing("HTTP/1.1 200").contains("untilEnd"))
        #expect(try framing("HTTP/1.1 200 OK\r\nContent-Length: 5", isHead: true).contains("none end"))
        #expect(try framing("HTTP/1.1 304 X\r\nContent-Length: 5").contains("none end"))
        #expect(try framing("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: Chunked").contains("chunked"))
        for bad in [
            "HTTP/2 200 OK", "HTTP/1.1 20 OK", "HTTP/1.1 999 OK", "HTTP/1.1 200OK", "http/1.1 200 OK",
            "HTTP/1.1 200 OK\r\nA",
            "HTTP/1.1 200 OK\r\n: b", "HTTP/1.1 200 OK\r\nA: b\r\n c", "HTTP/1.1 200 OK\r\nA b: c",
            "HTTP/1.1 200 OK\r\nA: b\u{0}", "HTTP/1.1 200 OK\r\nContent-Length: -5",
            "HTTP/1.1 200 OK\r\nContent-Length: 5, 6",
            "HTTP/1.1 200 OK\r\nContent-Length: 9999999999999999999",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked",
        ] {
            #expect(throws: AnswerError.self, "\(bad)") { try framing(bad) }
        }
    }

    @Test("An answer that breaks off is never whole")
    func breaks() {
        for text in [
            "", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n1",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n1\r\n0\r\n", "HTTP/1.1 103 Early\r\n\r\n",
        ] {
            #expect(throws: AnswerError.self, "\(text)") { try parsed([Array(text.utf8)]) }
        }
    }

    @Test("What a sandbox may make the daemon hold is bounded")
    func bounds() {
        let endless: [[UInt8]] = [
            [UInt8](repeating: UInt8(ascii: "A"), count: 200_000),
            Array("HTTP/1.1 200 OK\r\n".utf8) + Array(String(repeating: "A: b\r\n", count: 600).utf8),
            Array(String(repeating: "HTTP/1.1 100 Continue\r\n\r\n", count: 17).utf8),
            Array("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;".utf8) + [UInt8](repeating: 65, count: 300),
            Array("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n".utf8)
                + Array(String(repeating: "A: b\r\n", count: 20_000).utf8),
            Array("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF\r\n".utf8),
        ]
        for bytes in endless { #expect(throws: AnswerError.self) { try parsed([bytes], ends: false) } }
    }

    @Test("Any bytes are an answer or an error")
    func noise() {
        var generator = SeededGenerator(seed: 4)
        let alphabet = Array("HTTP/1.1 200 OK\r\n\r\nContent-Length: 5;chunked\u{0}\u{FF}".utf8)
        for _ in 0..<3000 {
            var bytes = Array(PreviewUnitTests.answer.utf8)
            for _ in 0..<Int.random(in: 1...20, using: &generator) {
                let place = Int.random(in: 0..<bytes.count, using: &generator)
                let byte = alphabet[Int.random(in: 0..<alphabet.count, using: &generator)]
                if Bool.random(using: &generator) { bytes[place] = byte } else { bytes.insert(byte, at: place) }
            }
            // Not to trap is the point; and the end is never told twice.
            let result = try? parsed([bytes])
            if let result { #expect(result.0.split(separator: " ").count { $0 == "end" } <= 1) }
        }
    }

    @Test("A request cannot write lines of its own into what the sandbox gets")
    func injection() {
        for headers: HTTPHeaders in [["A": "b\r\nC: d"], ["A\r\nB": "c"], ["": "c"], ["A B": "c"], ["A": "b\u{0}"]] {
            let head = HTTPRequestHead(version: .http1_1, method: .GET, uri: "/", headers: headers)
            #expect(throws: MartletError.self) {
                try ForwardedRequest(
                    head, secrets: PreviewSecrets(target: "/", headers: headers), form: .host("h"), port: 80,
                    isUpgrade: false, scheme: "http", client: nil)
            }
        }
    }
}

/// The same numbers every time (splitmix64, as in Vigna's public domain code).
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
