extension Attempt {
    private static let mismatch: Set<String> = ["host-mismatch", "host-not-allowed"]

    /// Requests that say one name and go to the address of another, or hide where they go.
    static let requests: [Attempt] = [
        Attempt(
            "another Host than resolved", .allowlist, "http",
            ["resolve": "shared-ok.example", "host": "TOKEN.bad.example"], rules: mismatch,
            .name("TOKEN.bad.example")),
        Attempt(
            "another allowed Host than resolved", .allowlist, "http",
            ["resolve": "two.example", "host": "TOKEN.wild.example"], rules: mismatch, .name("TOKEN.wild.example")),
        Attempt(
            "a second request with another Host", .allowlist, "http_second",
            ["resolve": "shared-ok.example", "first": "shared-ok.example", "second": "TOKEN.bad.example"],
            rules: mismatch, .name("TOKEN.bad.example")),
        Attempt(
            "a pipelined request with another Host", .allowlist, "http_second",
            [
                "resolve": "shared-ok.example", "first": "shared-ok.example", "second": "TOKEN.bad.example",
                "pipelined": true,
            ], rules: mismatch, .name("TOKEN.bad.example")),
        Attempt(
            "two Host lines", .allowlist, "http",
            ["resolve": "ok.example", "host": "ok.example", "lines": ["Host: TOKEN.bad.example"]],
            rules: mismatch.union(malformed), .anything),
        Attempt(
            "an absolute target", .allowlist, "http",
            ["resolve": "ok.example", "host": "ok.example", "target": "http://TOKEN.bad.example/"],
            rules: mismatch.union(malformed), .anything),
        Attempt(
            "CONNECT", .allowlist, "http",
            ["resolve": "ok.example", "host": "ok.example", "method": "CONNECT", "target": "TOKEN.bad.example:443"],
            rules: malformed, .anything),
        Attempt(
            "no Host", .allowlist, "http", ["resolve": "ok.example"], rules: ["no-host"], .address("93.184.216.10")),
        Attempt(
            "an address in Host", .allowlist, "http",
            ["resolve": "ok.example", "host": "93.184.216.10", "lines": ["X-Mark: TOKEN"]],
            rules: mismatch.union(malformed), .anything),
        Attempt(
            "a body that hides a request, two lengths", .allowlist, "http",
            [
                "resolve": "ok.example", "host": "ok.example", "method": "POST", "target": "/",
                "lines": ["Content-Length: 4", "Transfer-Encoding: chunked"],
                "body": "0\r\n\r\nGET /TOKEN HTTP/1.1\r\nHost: bad.example\r\n\r\n",
            ], rules: mismatch.union(malformed), .anything),
        Attempt(
            "a space before the colon of Host", .allowlist, "raw_stream",
            [
                "resolve": "ok.example",
                "data": "GET /TOKEN HTTP/1.1\\r\\nHost : bad.example\\r\\nHost: ok.example\\r\\n\\r\\n",
            ], rules: mismatch.union(malformed), .anything),
        Attempt(
            "a folded Host", .allowlist, "raw_stream",
            [
                "resolve": "ok.example",
                "data": "GET /TOKEN HTTP/1.1\\r\\nHost: ok.example\\r\\n .bad.example\\r\\n\\r\\n",
            ], rules: mismatch.union(malformed), .anything),
        Attempt(
            "HTTP/2 without TLS", .allowlist, "raw_stream",
            ["resolve": "ok.example", "data": "PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\nTOKEN\\r\\n\\r\\n"],
            rules: malformed, .anything),
        Attempt(
            "something else on port 80", .allowlist, "raw_stream",
            ["resolve": "ok.example", "data": "TOKEN\\r\\n\\r\\n\\x00\\x01\\r\\n\\r\\n"], rules: malformed, .anything,
            unguarded: .untried("the server speaks HTTP alone")),
        Attempt(
            "another Host where ports are named", .allowlist, "http",
            ["resolve": "tcp.example", "host": "TOKEN.bad.example", "port": 8080], rules: mismatch,
            .name("TOKEN.bad.example")),
    ]

    static let malformed: Set<String> = ["not-http", "no-host", "proxy-request", "host-mismatch"]

    /// TLS that says one name and goes to the address of another, or says none.
    static let handshakes: [Attempt] = [
        Attempt(
            "another name than resolved", .allowlist, "tls",
            ["resolve": "shared-ok.example", "sni": "TOKEN.bad.example"], rules: mismatch,
            .name("TOKEN.bad.example")),
        Attempt(
            "another allowed name than resolved", .allowlist, "tls",
            ["resolve": "two.example", "sni": "TOKEN.wild.example"], rules: mismatch, .name("TOKEN.wild.example")),
        Attempt(
            "a name that is not allowed in capitals, with a dot", .allowlist, "tls",
            ["resolve": "shared-ok.example", "sni": "TOKEN.BAD.Example."], rules: mismatch.union(["no-sni"]),
            .anything),
        Attempt(
            "no name", .allowlist, "tls", ["resolve": "shared-ok.example"], rules: ["no-sni"],
            .address("93.184.216.11")),
        Attempt(
            "an address for a name", .allowlist, "tls", ["resolve": "shared-ok.example", "sni": "93.184.216.11"],
            rules: mismatch.union(["no-sni"]), .address("93.184.216.11")),
        Attempt(
            "an encrypted name behind an allowed one", .allowlist, "tls",
            ["resolve": "shared-ok.example", "sni": "shared-ok.example", "ech": true], rules: ["encrypted-sni"],
            .address("93.184.216.11")),
        Attempt(
            "two names in one handshake", .allowlist, "tls",
            ["resolve": "shared-ok.example", "names": ["shared-ok.example", "TOKEN.bad.example"]],
            rules: mismatch.union(["no-sni", "not-tls"]), .address("93.184.216.11"),
            unguarded: .untried("servers refuse it too")),
        Attempt(
            "a name split over segments", .allowlist, "tls",
            ["resolve": "shared-ok.example", "sni": "TOKEN.bad.example", "pieces": 40], rules: mismatch,
            .name("TOKEN.bad.example")),
        Attempt(
            "a name split over records", .allowlist, "tls",
            ["resolve": "shared-ok.example", "sni": "TOKEN.bad.example", "records": 5],
            rules: mismatch.union(["not-tls"]), .anything),
        Attempt(
            "TLS on port 80", .allowlist, "tls",
            ["resolve": "tcp.example", "sni": "TOKEN.bad.example", "port": 8080], rules: mismatch,
            .name("TOKEN.bad.example"), unguarded: .untried("the server speaks HTTP there")),
        Attempt(
            "something else on port 443", .allowlist, "raw_stream",
            ["resolve": "shared-ok.example", "port": 443, "data": "SSH-2.0-TOKEN\\r\\n"], rules: ["not-tls"],
            .address("93.184.216.11"), unguarded: .untried("the server speaks TLS alone")),
        Attempt(
            "plain HTTP on port 443", .allowlist, "http",
            ["resolve": "shared-ok.example", "host": "shared-ok.example", "port": 443], rules: ["not-tls"],
            .address("93.184.216.11"), unguarded: .untried("the server speaks TLS alone")),
    ]
}
