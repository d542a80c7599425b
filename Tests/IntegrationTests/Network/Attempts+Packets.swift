extension Attempt {
    private static let spoofed: Set<String> = ["spoofed-address", "spoofed-mac", "spoofed-arp"]

    /// Packets that no program makes by accident.
    static let packets: [Attempt] = [
        Attempt("ICMP echo", .allowlist, "ping", ["address": "PLACE"], rules: byAddress, .place),
        Attempt(
            "data in ICMP to an allowed name's address", .allowlist, "ping", ["resolve": "two.example"],
            rules: byAddress, .anything),
        Attempt("GRE", .allowlist, "raw_protocol", ["address": "PLACE", "protocol": 47], rules: byAddress, .place),
        Attempt(
            "SCTP", .allowlist, "raw_protocol", ["address": "PLACE", "protocol": 132],
            rules: byAddress.union(["invalid-packet"]), .place),
        Attempt(
            "IPv6 in IPv4", .allowlist, "raw_protocol", ["address": "PLACE", "protocol": 41], rules: byAddress, .place),
        Attempt(
            "a protocol without a name", .allowlist, "raw_protocol", ["address": "PLACE", "protocol": 253],
            rules: byAddress, .place),
        Attempt(
            "a segment without flags", .allowlist, "half_tcp", ["address": "PLACE", "port": 7001, "flags": 0],
            rules: ["invalid-packet"], .place),
        Attempt(
            "UDP in tiny fragments", .allowlist, "fragments", ["address": "PLACE", "port": 7002], rules: byAddress,
            .place),
        Attempt(
            "UDP in overlapping fragments", .allowlist, "fragments",
            ["address": "PLACE", "port": 7002, "overlapping": true], rules: [], .untold("it is not put together"),
            unguarded: .untried("kernels drop them")),
        Attempt(
            "a source route through an allowed address", .allowlist, "source_route",
            ["address": "PLACE", "through": "93.184.230.8", "port": 7002], rules: ["invalid-packet"],
            .address("93.184.230.8"),
            unguarded: .untried("the next router drops it")),
        Attempt(
            "multicast", .allowlist, "broadcast", ["address": "224.0.0.251", "port": 5353], rules: blocked,
            .address("224.0.0.251"), unguarded: .untried("nobody forwards it")),
        Attempt(
            "broadcast", .allowlist, "broadcast", ["address": "255.255.255.255", "port": 67], rules: blocked,
            .address("255.255.255.255"), unguarded: .untried("nobody forwards it")),
        Attempt(
            "a packet for the gateway's loopback", .allowlist, "to_loopback", ["port": 6379], rules: blocked,
            .address("127.0.0.1"), unguarded: .untried("kernels drop it")),
    ]

    /// A machine that says that it is another one.
    static let machine: [Attempt] = [
        Attempt(
            "a spoofed private address", .allowlist, "spoofed_address", ["source": "10.77.0.9", "address": "PLACE"],
            rules: spoofed, .anything),
        Attempt(
            "a spoofed public address", .allowlist, "spoofed_address",
            ["source": "93.184.231.5", "address": "93.184.230.9"], rules: spoofed, .anything),
        Attempt(
            "the gateway's address", .allowlist, "spoofed_address", ["source": "192.0.0.1", "address": "93.184.230.9"],
            rules: spoofed, .anything, unguarded: .untried("a host drops what seems to come from itself")),
        Attempt(
            "a spoofed MAC", .allowlist, "spoofed_mac", ["mac": "026d74000099", "address": "93.184.230.10"],
            rules: spoofed, .anything),
        Attempt(
            "another address of its own", .allowlist, "changed_address",
            ["own": "192.0.0.77", "address": "PLACE"], rules: spoofed, .anything,
            unguarded: .untried("nothing leads back there")),
        Attempt(
            "a slot's address of its own", .allowlist, "changed_address",
            ["own": "10.201.0.6", "address": "93.184.230.11"], rules: spoofed, .anything,
            unguarded: .untried("nothing leads back there")),
        Attempt(
            "another MAC of its own", .allowlist, "changed_mac",
            ["mac": "02:6d:74:00:00:77", "address": "93.184.230.12"], rules: spoofed, .anything),
        Attempt(
            "another route of its own", .allowlist, "changed_route", ["address": "PLACE"], rules: byAddress, .place),
        Attempt(
            "ARP: to be the gateway", .allowlist, "arp",
            ["operation": 2, "sender": "192.0.0.1", "target": "192.0.0.1"], rules: ["spoofed-arp"], .anything,
            unguarded: .untried("there is nobody to be fooled")),
        Attempt(
            "ARP: who else is there", .allowlist, "arp",
            ["operation": 1, "sender": "10.77.0.9", "target": "10.77.0.1"], rules: ["spoofed-arp"], .anything,
            unguarded: .untried("there is nobody else")),
        Attempt(
            "a VLAN tag", .allowlist, "vlan", ["number": 7, "address": "93.184.230.13"], rules: ["other-ethertype"],
            .anything, unguarded: .untried("a host drops what it has no VLAN for")),
        Attempt(
            "two VLAN tags", .allowlist, "vlan", ["number": 7, "address": "93.184.230.13", "kind": 0x88A8],
            rules: ["other-ethertype"], .anything, unguarded: .untried("a host drops what it has no VLAN for")),
        Attempt(
            "a frame of another protocol", .allowlist, "ethertype", ["kind": 0x88CC], rules: ["other-ethertype"],
            .anything,
            unguarded: .untried("nobody listens to it")),
        Attempt("IPv6 frames", .allowlist, "ipv6_frames", [:], rules: ["ipv6"], .anything),
        Attempt("IPv6, switched on", .allowlist, "ipv6_enabled", [:], rules: ["ipv6"], .anything),
    ]
}
