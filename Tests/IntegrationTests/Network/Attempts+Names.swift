extension Attempt {
    /// By guest: the events of one sandbox have a budget, which no guest here is to use up.
    static let groups: [(guest: String, attempts: [Attempt])] = [
        ("names", names), ("destinations", destinations), ("requests", requests), ("handshakes", handshakes),
        ("packets", packets), ("machine", machine), ("public", publicMode), ("picky", pickyMode), ("none", noMode),
    ]
    static let all = groups.flatMap(\.attempts)

    private static let lookUp: Set<String> = ["lookup-not-allowed"]

    /// Names that must not be looked up, and answers that must not be given.
    static let names: [Attempt] = [
        Attempt(
            "a name that is not allowed", .allowlist, "lookup", ["name": "TOKEN.bad.example"], rules: lookUp,
            .name("TOKEN.bad.example")),
        Attempt(
            "ask another server, UDP", .allowlist, "lookup", ["name": "TOKEN.bad.example", "server": "8.8.8.8"],
            rules: lookUp, .name("TOKEN.bad.example")),
        Attempt(
            "ask another server, TCP", .allowlist, "lookup",
            ["name": "TOKEN.bad.example", "server": "1.1.1.1", "transport": "tcp"], rules: lookUp,
            .name("TOKEN.bad.example")),
        Attempt(
            "ask another server on another port", .allowlist, "lookup",
            ["name": "TOKEN.bad.example", "server": "PLACE", "port": 5353], rules: ["address-not-allowed"], .place),
        Attempt(
            "a name that ends like an allowed one", .allowlist, "lookup", ["name": "TOKEN-wild.example"],
            rules: lookUp, .name("TOKEN-wild.example"), unguarded: .untried("there is no such name")),
        Attempt(
            "an allowed name with something behind it", .allowlist, "lookup",
            ["name": "ok.example.TOKEN.bad.example"], rules: lookUp, .name("ok.example.TOKEN.bad.example")),
        Attempt(
            "what is below a name without wildcard", .allowlist, "lookup", ["name": "TOKEN.ok.example"],
            rules: lookUp, .name("TOKEN.ok.example")),
        Attempt(
            "the name a wildcard is below of", .allowlist, "lookup", ["name": "wild.example"], rules: lookUp,
            .name("wild.example")),
        Attempt(
            "a denied name within a wildcard", .allowlist, "lookup", ["name": "secret.wild.example"], rules: lookUp,
            .name("secret.wild.example")),
        Attempt(
            "data in look-ups, TXT", .allowlist, "lookup", ["name": "TOKEN.bad.example", "kind": "TXT"],
            rules: lookUp, .name("TOKEN.bad.example")),
        Attempt(
            "data in look-ups, NULL", .allowlist, "lookup", ["name": "TOKEN.bad.example", "kind": "NULL"],
            rules: lookUp, .name("TOKEN.bad.example")),
        Attempt(
            "data in look-ups, long labels", .allowlist, "tunnel", ["zone": "bad.example"], rules: lookUp, .anything),
        Attempt(
            "another type of an allowed name", .allowlist, "lookup", ["name": "TOKEN.wild.example", "kind": "TXT"],
            rules: ["lookup-type"], .name("TOKEN.wild.example")),
        Attempt(
            "all types of an allowed name", .allowlist, "lookup", ["name": "TOKEN.wild.example", "kind": "ANY"],
            rules: ["lookup-type"], .name("TOKEN.wild.example")),
        Attempt(
            "DNS over HTTPS by name", .allowlist, "lookup", ["name": "dns.resolver.example"], rules: lookUp,
            .name("dns.resolver.example")),
        Attempt(
            "rebinding: the second answer is private", .allowlist, "rebind",
            ["name": "rebind.example", "address": "10.77.0.1"], rules: rebinding, .name("rebind.example")),
        Attempt(
            "a name that leads to a private address", .allowlist, "lookup_then_connect",
            ["name": "private.example", "address": "10.77.0.1"], rules: rebinding, .name("private.example")),
        Attempt(
            "a name that leads to the metadata server", .allowlist, "lookup_then_connect",
            ["name": "meta.example", "address": "169.254.169.254"], rules: rebinding, .name("meta.example")),
        Attempt(
            "a name that leads to the host", .allowlist, "lookup_then_connect",
            ["name": "host.example", "address": "81.2.69.2"], rules: rebinding, .name("host.example")),
        Attempt(
            "a name that leads to loopback", .allowlist, "lookup",
            ["name": "loop.example"], rules: rebinding, .name("loop.example")),
        Attempt(
            "a name that leads to the gateway", .allowlist, "lookup_then_connect",
            ["name": "gateway.example", "address": "192.0.0.1", "port": 8080], rules: rebinding,
            .name("gateway.example")),
        Attempt(
            "an alias of a private address", .allowlist, "lookup_then_connect",
            ["name": "cname-out.example", "address": "10.77.0.1"], rules: rebinding, .name("cname-out.example")),
        Attempt(
            "a private address among public ones", .allowlist, "lookup_then_connect",
            ["name": "mixed.example", "address": "10.77.0.1"], rules: rebinding, .name("mixed.example")),
    ]

    static let rebinding: Set<String> = ["rebinding"]

    /// TCP to where no name leads.
    static let destinations: [Attempt] = [
        Attempt(
            "by address, port 80", .allowlist, "connect", ["address": "PLACE", "port": 80], rules: byAddress, .place),
        Attempt(
            "by address, port 443, with an allowed name", .allowlist, "tls", ["address": "PLACE", "sni": "ok.example"],
            rules: byAddress, .place),
        Attempt(
            "by address, an allowed name in Host", .allowlist, "http", ["address": "PLACE", "host": "ok.example"],
            rules: byAddress, .place),
        Attempt("by address, SSH", .allowlist, "connect", ["address": "PLACE", "port": 22], rules: byAddress, .place),
        Attempt(
            "by address, any other port", .allowlist, "connect", ["address": "PLACE", "port": 7001], rules: byAddress,
            .place),
        Attempt(
            "an allowed name's address on another port", .allowlist, "http",
            ["resolve": "ok.example", "host": "ok.example", "port": 8080], rules: ["port-not-allowed"],
            .address("93.184.216.10")),
        Attempt(
            "an allowed range on another port", .allowlist, "connect", ["address": "93.184.230.7", "port": 7001],
            rules: byAddress, .address("93.184.230.7")),
        Attempt(
            "an allowed port over another transport", .allowlist, "udp", ["address": "93.184.231.6", "port": 7002],
            rules: byAddress, .address("93.184.231.6")),
        Attempt(
            "a denied address in an allowed range", .allowlist, "udp", ["address": "93.184.230.66", "port": 7002],
            rules: denied, .address("93.184.230.66")),
        Attempt(
            "DNS over HTTPS by address", .allowlist, "tls", ["address": "1.1.1.1", "sni": "TOKEN.bad.example"],
            rules: byAddress, .address("1.1.1.1")),
        Attempt(
            "DNS over TLS", .allowlist, "tls", ["address": "9.9.9.9", "port": 853, "sni": "TOKEN.bad.example"],
            rules: byAddress, .address("9.9.9.9")),
        Attempt(
            "QUIC to an allowed name's address", .allowlist, "quic", ["resolve": "two.example"], rules: byAddress,
            .anything),
        Attempt("UDP anywhere", .allowlist, "udp", ["address": "PLACE", "port": 7002], rules: byAddress, .place),
        Attempt(
            "the private network", .allowlist, "connect", ["address": "10.77.0.1", "port": 80], rules: blocked,
            .address("10.77.0.1")),
        Attempt(
            "the metadata server", .allowlist, "connect", ["address": "169.254.169.254", "port": 80], rules: blocked,
            .address("169.254.169.254")),
        Attempt(
            "the host by its public address", .allowlist, "connect", ["address": "81.2.69.2", "port": 8080],
            rules: blocked, .address("81.2.69.2")),
        Attempt(
            "the host by its private address", .allowlist, "connect", ["address": "10.77.0.254", "port": 8080],
            rules: blocked, .address("10.77.0.254")),
        Attempt(
            "the gateway, many ports", .allowlist, "connect_many",
            ["address": "192.0.0.1", "ports": [22, 80, 443, 6379, 7000, 7001, 8080, 15_001]],
            rules: blocked, .address("192.0.0.1")),
    ]

    static let byAddress: Set<String> = ["address-not-allowed"]
    static let denied: Set<String> = ["address-denied"]
    static let blocked: Set<String> = ["blocked-address"]
}
