import NIOHTTP1
import SandboxModel
import Testing

@testable import HostNetwork

@Suite struct HTTPRulesTests {
    private static func head(
        _ headers: HTTPHeaders, _ method: HTTPMethod = .GET, _ uri: String = "/", version: HTTPVersion = .http1_1
    ) -> HTTPRequestHead {
        HTTPRequestHead(version: version, method: method, uri: uri, headers: headers)
    }

    @Test func aPlainRequestIsForItsHost() throws {
        #expect(try HTTPRequestRules.host(of: Self.head(["Host": "Good.TEST"]), port: 80) == "good.test")
        #expect(try HTTPRequestRules.host(of: Self.head(["Host": "good.test:8080"]), port: 8080) == "good.test")
        #expect(try HTTPRequestRules.host(of: Self.head(["Host": "good.test"], .OPTIONS, "*"), port: 80) == "good.test")
    }

    @Test(arguments: [
        (head(["X": "y"]), RefusalRule.noHost), (head(["Host": ""]), .noHost),
        (head(["Host": "a.test", "host": "b.test"]), .noHost),
        (head(["Host": "1.2.3.4"]), .hostNotAllowed), (head(["Host": "user@good.test"]), .hostNotAllowed),
        (head(["Host": "good.test, evil.test"]), .hostNotAllowed), (head(["Host": "good.test:81"]), .hostMismatch),
        (head(["Host": "[::1]"]), .hostNotAllowed), (head(["Host": "a.test"], .CONNECT, "a.test:443"), .proxyRequest),
        (head(["Host": "good.test"], .GET, "http://evil.test/"), .proxyRequest),
        (head(["Host": "good.test"], .GET, "*"), .proxyRequest),
        (head(["Host": "a.test", "Content-Length": "1", "Transfer-Encoding": "chunked"], .POST), .notHTTP),
        (head(["Host": "a.test", "Content-Length": "1", "content-length": "2"], .POST), .notHTTP),
        (head(["Host": "a.test", "Content-Length": "+1"], .POST), .notHTTP),
        (head(["Host": "a.test", "Transfer-Encoding": "gzip, chunked"], .POST), .notHTTP),
        (head(["Host": "a.test", "Transfer-Encoding": "xchunked"], .POST), .notHTTP),
        (head(["Host": "a.test", "Transfer-Encoding": "chunked"], .POST, version: .http1_0), .notHTTP),
        (head(["Host": "a.test"], version: HTTPVersion(major: 1, minor: 2)), .notHTTP),
    ])
    func whatTwoReadersCouldReadDifferentlyIsRefused(head: HTTPRequestHead, rule: RefusalRule) {
        #expect { try HTTPRequestRules.host(of: head, port: 80) } throws: { error in
            (error as? HTTPRequestRules.Refusal)?.rule == rule
        }
    }

    @Test func whatConcernsOneConnectionOnlyIsNotPassedOn() {
        let forwarded = HTTPRequestRules.forwarded(
            Self.head([
                "Host": "a.test", "Connection": "keep-alive, X-Gone, Host, Content-Length", "X-Gone": "1",
                "Content-Length": "3", "TE": "trailers", "Trailer": "X", "Proxy-Connection": "x", "Upgrade": "h2c",
                "HTTP2-Settings": "AAA", "Accept": "*/*",
            ]))
        #expect(forwarded.head.headers.map(\.name) == ["Host", "Content-Length", "Accept"])
        #expect(!forwarded.isLast && !forwarded.isWebSocket)
    }

    @Test func onlyWebSocketsMayUpgrade() {
        let socket = HTTPRequestRules.forwarded(
            Self.head(["Host": "a", "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": "k"]))
        #expect(socket.isWebSocket && socket.head.headers["upgrade"] == ["websocket"])
        let other = HTTPRequestRules.forwarded(
            Self.head(["Host": "a", "Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c"]))
        #expect(!other.isWebSocket && other.isLast && other.head.headers["connection"] == ["close"])
        let withBody = HTTPRequestRules.forwarded(
            Self.head(["Host": "a", "Connection": "Upgrade", "Upgrade": "websocket", "Content-Length": "3"]))
        #expect(!withBody.isWebSocket && withBody.isLast)
    }

    @Test func anAnswersEndIsSaidPlainly() throws {
        func forwarded(_ status: HTTPResponseStatus, _ headers: HTTPHeaders, method: HTTPMethod = .GET) throws
            -> HTTPResponseRules.Forwarded
        {
            try HTTPResponseRules.forwarded(
                HTTPResponseHead(version: .http1_1, status: status, headers: headers), method: method,
                version: .http1_1, isLast: false)
        }
        #expect(try !forwarded(.ok, ["Content-Length": "3"]).isLast)
        #expect(try forwarded(.ok, [:]).isLast)
        #expect(try forwarded(.ok, ["Connection": "close", "Content-Length": "3"]).isLast)
        #expect(try forwarded(.noContent, [:]).hasNoBody)
        let head = try forwarded(.ok, ["Content-Length": "9"], method: .HEAD)
        #expect(head.hasNoBody && head.head.headers["content-length"] == ["9"] && !head.isLast)
        #expect(throws: HTTPResponseRules.Unreadable.self) { try forwarded(.ok, ["Transfer-Encoding": "gzip"]) }
    }
}

@Suite struct SecretRewriterTests {
    private static func secret(
        header: String? = nil, format: String = "{value}", value: String = "s3cr3t-value-0001"
    ) -> NetworkSecret {
        NetworkSecret(
            name: "TOKEN", placeholder: "mtsec_placeholder_1", value: value, hosts: [HostPattern("api.test")!],
            header: header, format: format)
    }

    private static func reveal(_ secret: NetworkSecret, _ head: HTTPRequestHead) throws -> HTTPRequestHead {
        var head = head
        try SecretRewriter([secret]).reveal(in: &head)
        return head
    }

    @Test func thePlaceholderIsReplacedInHeadersAndTarget() throws {
        let head = try Self.reveal(
            Self.secret(),
            HTTPRequestHead(
                version: .http1_1, method: .GET, uri: "/a?key=mtsec_placeholder_1",
                headers: [
                    "Host": "api.test", "Authorization": "Bearer mtsec_placeholder_1", "X-Other": "untouched",
                    // Decodes to "user:mtsec_placeholder_1".
                    "X-Basic": "Basic dXNlcjptdHNlY19wbGFjZWhvbGRlcl8x",
                ]))
        #expect(head.uri == "/a?key=s3cr3t-value-0001")
        #expect(head.headers["authorization"] == ["Bearer s3cr3t-value-0001"])
        #expect(head.headers["x-basic"] == ["Basic dXNlcjpzM2NyM3QtdmFsdWUtMDAwMQ=="])
        #expect(head.headers["x-other"] == ["untouched"])
    }

    @Test func headersThatCarryTheMessageAreNotTouched() throws {
        let headers: HTTPHeaders = [
            "Host": "mtsec_placeholder_1", "Connection": "mtsec_placeholder_1", "Trailer": "mtsec_placeholder_1",
            "mtsec_placeholder_1": "name",
        ]
        let head = try Self.reveal(
            Self.secret(), HTTPRequestHead(version: .http1_1, method: .GET, uri: "/", headers: headers))
        #expect(head.headers == headers)
    }

    @Test func aHeaderOfItsOwnIsSetWhateverTheGuestPutThere() throws {
        let head = try Self.reveal(
            Self.secret(header: "Authorization", format: "Bearer {value}"),
            HTTPRequestHead(
                version: .http1_1, method: .GET, uri: "/mtsec_placeholder_1",
                headers: ["authorization": "one", "Authorization": "two"]))
        #expect(head.headers["authorization"] == ["Bearer s3cr3t-value-0001"])
        #expect(head.uri == "/mtsec_placeholder_1")
    }

    @Test func aValueCannotEndAHeaderOrAPartOfATarget() throws {
        let evil = Self.secret(value: "a\r\nX-Injected: 1")
        #expect(throws: SecretRewriter.Unfit(secret: "TOKEN")) {
            try Self.reveal(
                evil, HTTPRequestHead(version: .http1_1, method: .GET, uri: "/", headers: ["A": "mtsec_placeholder_1"]))
        }
        let odd = Self.secret(value: "a&b=c#d /é%")
        let head = try Self.reveal(
            odd, HTTPRequestHead(version: .http1_1, method: .GET, uri: "/?k=mtsec_placeholder_1"))
        #expect(head.uri == "/?k=a%26b%3Dc%23d%20%2F%C3%A9%25")
    }

    @Test func answersHeadersGiveNothingBack() {
        var headers: HTTPHeaders = ["Location": "/next?key=s3cr3t-value-0001", "X": "y"]
        SecretRewriter([Self.secret()]).conceal(in: &headers)
        #expect(headers["location"] == ["/next?key=mtsec_placeholder_1"])
    }

    @Test func nothingPrintsAValue() {
        #expect(
            !"\(Self.secret())".contains("s3cr3t")
                && !"\(SandboxNetwork(policy: .closed, secrets: [Self.secret()]))".contains("s3cr3t"))
    }
}
