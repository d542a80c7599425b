extension Attempt {
    /// What stays out of reach where all of the internet is in reach.
    static let publicMode: [Attempt] = [
        Attempt(
            "the private network", .open, "connect", ["address": "10.77.0.1", "port": 80], rules: blocked,
            .address("10.77.0.1")),
        Attempt(
            "the private network, UDP", .open, "udp", ["address": "10.77.0.2", "port": 7002], rules: blocked,
            .address("10.77.0.2"), unguarded: .untried("nobody is there")),
        Attempt(
            "the private network, ICMP", .open, "ping", ["address": "10.77.0.1"], rules: blocked,
            .address("10.77.0.1")),
        Attempt(
            "the metadata server", .open, "http", ["address": "169.254.169.254", "host": "169.254.169.254"],
            rules: blocked, .address("169.254.169.254")),
        Attempt(
            "the host by its public address", .open, "connect", ["address": "81.2.69.2", "port": 8080], rules: blocked,
            .address("81.2.69.2")),
        Attempt(
            "the host by its private address, UDP", .open, "udp", ["address": "10.77.0.254", "port": 7002],
            rules: blocked, .address("10.77.0.254")),
        Attempt(
            "the gateway, many ports", .open, "connect_many",
            ["address": "192.0.0.1", "ports": [22, 80, 443, 6379, 7000, 7001, 8080, 15_001]],
            rules: blocked, .address("192.0.0.1")),
        Attempt(
            "a name that leads to a private address", .open, "lookup_then_connect",
            ["name": "private.example", "address": "10.77.0.1"], rules: rebinding, .name("private.example")),
        Attempt(
            "a denied range", .open, "connect", ["address": "93.184.218.7", "port": 80], rules: denied,
            .address("93.184.218.7")),
        Attempt(
            "a denied range, UDP", .open, "udp", ["address": "93.184.218.8", "port": 7002], rules: denied,
            .address("93.184.218.8")),
        Attempt(
            "a denied range, ICMP", .open, "ping", ["address": "93.184.218.9"], rules: denied,
            .address("93.184.218.9")),
        Attempt(
            "a denied port", .open, "connect", ["address": "93.184.217.7", "port": 80], rules: denied,
            .address("93.184.217.7")),
        Attempt("GRE", .open, "raw_protocol", ["address": "PLACE", "protocol": 47], rules: transport, .place),
        Attempt(
            "IPv6 in IPv4", .open, "raw_protocol", ["address": "PLACE", "protocol": 41], rules: transport, .place),
        Attempt(
            "a spoofed address", .open, "spoofed_address", ["source": "10.201.0.250", "address": "PLACE"],
            rules: ["spoofed-address"], .anything),
        Attempt(
            "a SYN in fragments", .open, "tcp_fragments", ["address": "93.184.218.10", "port": 7001], rules: denied,
            .address("93.184.218.10")),
        Attempt(
            "UDP in tiny fragments", .open, "fragments", ["address": "93.184.218.11", "port": 7002], rules: denied,
            .address("93.184.218.11")),
        Attempt("IPv6 frames", .open, "ipv6_frames", [:], rules: ["ipv6"], .anything),
    ]

    private static let transport: Set<String> = ["protocol-not-allowed"]

    /// The internet but for some names: what was not looked up is not reached.
    static let pickyMode: [Attempt] = [
        Attempt(
            "a denied name", .picky, "lookup", ["name": "denied.example"], rules: ["lookup-not-allowed"],
            .name("denied.example")),
        Attempt(
            "what is below a denied name", .picky, "lookup", ["name": "TOKEN.denied.example"],
            rules: ["lookup-not-allowed"], .name("TOKEN.denied.example")),
        Attempt(
            "a denied name, asked elsewhere", .picky, "lookup",
            ["name": "TOKEN.denied.example", "server": "8.8.8.8"], rules: ["lookup-not-allowed"],
            .name("TOKEN.denied.example")),
        Attempt(
            "by address, without a look-up", .picky, "http", ["address": "93.184.219.10", "host": "denied.example"],
            rules: byAddress.union(["host-mismatch", "host-not-allowed"]), .address("93.184.219.10")),
        Attempt(
            "a denied name in the handshake", .picky, "tls",
            ["resolve": "shared-ok.example", "sni": "TOKEN.denied.example"],
            rules: ["host-not-allowed", "host-mismatch"], .name("TOKEN.denied.example")),
        Attempt(
            "a denied name in Host", .picky, "http",
            ["resolve": "shared-ok.example", "host": "TOKEN.denied.example"],
            rules: ["host-not-allowed", "host-mismatch"], .name("TOKEN.denied.example")),
        Attempt(
            "QUIC", .picky, "quic", ["resolve": "two.example"], rules: ["name-required"], .anything),
        Attempt(
            "DNS over HTTPS by address", .picky, "tls", ["address": "1.1.1.1", "sni": "TOKEN.bad.example"],
            rules: byAddress.union(["host-mismatch"]), .address("1.1.1.1")),
    ]

    /// Nothing at all.
    static let noMode: [Attempt] = [
        Attempt(
            "a look-up", .none, "lookup", ["name": "TOKEN.wild.example"], rules: nothing,
            .anything),
        Attempt(
            "a look-up elsewhere, TCP", .none, "lookup",
            ["name": "TOKEN.wild.example", "server": "8.8.8.8", "transport": "tcp"], rules: nothing, .anything),
        Attempt("TCP", .none, "connect", ["address": "PLACE", "port": 80], rules: nothing, .place),
        Attempt("TLS", .none, "tls", ["address": "PLACE", "sni": "ok.example"], rules: nothing, .place),
        Attempt("UDP", .none, "udp", ["address": "PLACE", "port": 7002], rules: nothing, .place),
        Attempt("ICMP", .none, "ping", ["address": "PLACE"], rules: nothing, .place),
        Attempt("GRE", .none, "raw_protocol", ["address": "PLACE", "protocol": 47], rules: nothing, .place),
        Attempt(
            "the metadata server", .none, "connect", ["address": "169.254.169.254", "port": 80],
            rules: nothing, .address("169.254.169.254")),
        Attempt(
            "the gateway, many ports", .none, "connect_many",
            ["address": "192.0.0.1", "ports": [22, 80, 7001, 15_001]],
            rules: nothing, .address("192.0.0.1")),
        Attempt("IPv6 frames", .none, "ipv6_frames", [:], rules: ["ipv6"], .anything),
    ]

    private static let nothing: Set<String> = ["network-off"]
}
