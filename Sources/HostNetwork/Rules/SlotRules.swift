import SandboxModel

/// The rules every slot has, whatever its policy: closed, until the rules of a policy mark what may pass.
///
/// The way of a guest's packet, by hook and priority:
/// - ingress of the tap: it must be the guest's own, by address and hardware address; no IPv6, no tags;
/// - prerouting -160: it must belong to a connection or begin one;
/// - prerouting -150: the policy marks it (`PolicyRules`);
/// - prerouting -140: without a passage it is refused, and said to be; new connections are counted;
/// - prerouting -100: names and what they decide over are turned to the daemon's sockets;
/// - input, forward: only with the passage that leads there.
///
/// Whatever else lives in the namespace - the machine's VMM - may send nothing at all.
enum SlotRules {
    /// What a slot's rules are made from.
    struct Facts: Equatable, Sendable {
        /// The slot's own address, which the guest goes out under.
        var address: IPv4Address
        /// All slots of this host.
        var subnet: IPv4Prefix
        var blocked: [IPv4Prefix]
        var opened: [NetworkRule]
    }

    static let table = "martlet"
    static let counter = "denied"
    /// Of NFLOG, inside the slot's namespace.
    static let logGroup: UInt16 = 1
    /// Enough for an IPv4 header with options and the ports behind it.
    static let loggedBytes = 96
    /// The mark of the daemon's own sockets (SO_MARK), which takes a privilege to set that a VMM has not.
    static let daemonMark: UInt32 = 0x6d74_0001
    static let tap = "tap0"
    static let uplink = "up0"
    static let namePort: UInt16 = 53
    static let proxyPort: UInt16 = 15_001
    /// Look-ups under way at once.
    static let maxLookups = 1024

    /// Removes what `definition` makes, whether it is there or not.
    static let removal = """
        table netdev \(table)
        delete table netdev \(table)
        table ip \(table)
        delete table ip \(table)

        """

    /// Makes all base rules. Kept apart from the removal, which makes the kernel wait until no packet is under way.
    static func definition(_ facts: Facts) -> String {
        """
        table netdev \(table) {
        \(indented(ingress))
        }
        table ip \(table) {
        \(indented(addresses(facts)))
        }

        """
    }

    private static let ingress: [String] = {
        let mac = GuestNetwork.guestMAC
        let refusals: [Refusal] = [.spoofedMAC, .spoofedAddress, .spoofedARP, .ipv6, .otherEthertype]
        return ["counter \(counter) { }"] + refusals.flatMap { refusing($0, ["drop"]) }
            + chain(
                "arp_own",
                [
                    "arp htype 1 arp ptype 0x0800 arp hlen 6 arp plen 4 arp operation { request, reply } "
                        + "arp saddr ether \(mac) arp saddr ip { 0.0.0.0, \(GuestNetwork.address) } accept",
                    "goto \(Refusal.spoofedARP.chain)",
                ])
            + chain(
                "ingress",
                [
                    "type filter hook ingress device \"\(tap)\" priority -500; policy drop;",
                    "meta mark set 0",
                    "ether saddr != \(mac) goto \(Refusal.spoofedMAC.chain)",
                    "ether type arp goto arp_own",
                    "ether type 0x86dd goto \(Refusal.ipv6.chain)",
                    "ether type != 0x0800 goto \(Refusal.otherEthertype.chain)",
                    "ip saddr \(GuestNetwork.address) accept",
                    "goto \(Refusal.spoofedAddress.chain)",
                ])
    }()

    private static func addresses(_ facts: Facts) -> [String] {
        let blocked = AddressSets("blocked", facts.blocked.map { .init(prefix: $0, ports: []) })
        let opened = AddressSets("opened", rules: facts.opened)
        let connection: [Refusal] = [
            .networkOff, .blockedAddress, .deniedAddress, .addressNotAllowed, .nameRequired, .protocolNotAllowed,
            .policyChanged, .connectionLimit, .invalidPacket,
        ]
        return ["counter \(counter) { }"] + blocked.declarations + opened.declarations
            + connection.flatMap { refusing($0, ["goto reject_it"]) }
            + chain("reject_it", ["meta l4proto tcp reject with tcp reset", "reject with icmp type admin-prohibited"])
            + prerouting + [chain("dstnat", dstnat), chain("input", input), chain("forward", forward)].flatMap(\.self)
            + chain(
                "output",
                [
                    "type filter hook output priority 0; policy drop;",
                    "oifname \"\(tap)\" ct direction reply ct state established,related accept",
                    // What ends a connection nobody here knows, as of a guest that goes on in another slot.
                    "oifname \"\(tap)\" ct state invalid tcp flags & (syn | rst) == rst accept",
                    "meta mark != \(hex(daemonMark)) drop",
                    "oifname != \"\(uplink)\" drop",
                    "ip daddr { \(facts.subnet), \(gatewayNetwork) } drop",
                ] + opened.rules("accept", looksAtPacket: true)
                    + blocked.rules("drop", looksAtPacket: true) + ["accept"])
            + chain(
                "srcnat",
                [
                    "type nat hook postrouting priority 100; policy accept;",
                    "oifname \"\(uplink)\" ip saddr \(GuestNetwork.address) snat to \(facts.address)",
                ])
    }

    /// The network between guest and gateway, whose few addresses mean the slot itself.
    static let gatewayNetwork = IPv4Prefix(GuestNetwork.gateway, length: GuestNetwork.prefixLength)

    private static let prerouting: [String] = {
        let verdicts =
            [Passage.direct, .names, .proxy].map { "\($0.rawValue) : goto admit" }
            + Refusal.allCases.compactMap { refusal in refusal.mark.map { "\($0) : goto \(refusal.chain)" } }
        return chain(
            "tracked",
            [
                "type filter hook prerouting priority -160; policy accept;",
                // The last packets of a connection may come after it is forgotten, and mean no harm.
                "iifname \"\(tap)\" ct state invalid tcp flags & (fin | syn | rst) == fin drop",
                "iifname \"\(tap)\" ct state invalid tcp flags & (fin | syn | rst) == rst drop",
                "iifname \"\(tap)\" ct state invalid goto \(Refusal.invalidPacket.chain)",
            ])
            + chain(
                "admit",
                [
                    "ct state != new accept",
                    "meta mark \(Passage.names.rawValue) goto lookups",
                    "goto connections",
                ])
            + chain("lookups", ["ct count over \(maxLookups) goto \(Refusal.connectionLimit.chain)"])
            + chain("connections", [limit(NetworkPolicy.defaultMaxConnections)])
            + chain(
                "decided",
                [
                    "type filter hook prerouting priority -140; policy accept;",
                    "iifname != \"\(tap)\" accept",
                    "meta mark vmap { \(verdicts.joined(separator: ", ")) }",
                    "goto \(Refusal.networkOff.chain)",
                ])
    }()

    /// The rule that keeps a guest from having more connections.
    static func limit(_ connections: Int) -> String {
        "ct count over \(connections) goto \(Refusal.connectionLimit.chain)"
    }

    private static let dstnat = [
        "type nat hook prerouting priority -100; policy accept;",
        "iifname != \"\(tap)\" accept",
        "meta mark \(Passage.names.rawValue) meta l4proto { tcp, udp } redirect to :\(namePort)",
        "meta mark \(Passage.proxy.rawValue) meta l4proto tcp redirect to :\(proxyPort)",
    ]

    private static let input = [
        "type filter hook input priority 0; policy drop;",
        "iifname \"\(tap)\" meta mark \(Passage.names.rawValue) meta l4proto { tcp, udp } th dport \(namePort) accept",
        "iifname \"\(tap)\" meta mark \(Passage.proxy.rawValue) tcp dport \(proxyPort) accept",
        "iifname \"\(tap)\" goto \(Refusal.policyChanged.chain)",
        "iifname \"\(uplink)\" ct direction reply ct state established,related accept",
    ]

    private static let forward = [
        "type filter hook forward priority 0; policy drop;",
        "meta mark \(Passage.direct.rawValue) iifname . oifname { \"\(tap)\" . \"\(uplink)\", \"\(uplink)\" . \"\(tap)\" } accept",
        "iifname \"\(tap)\" goto \(Refusal.policyChanged.chain)",
    ]

    // MARK: Writing rules

    /// A chain that counts, tells and then refuses. What is told is bounded, so that a flood costs no more than its
    /// packets.
    private static func refusing(_ refusal: Refusal, _ end: [String]) -> [String] {
        chain(
            refusal.chain,
            [
                "counter name \"\(counter)\"",
                "limit rate 50/second burst 100 packets log prefix \"\(refusal.rawValue)\" group \(logGroup) "
                    + "snaplen \(loggedBytes)",
            ] + end)
    }

    static func chain(_ name: String, _ rules: [String]) -> [String] {
        ["chain \(name) {"] + rules.map { "    " + $0 } + ["}"]
    }

    static func indented(_ lines: [String]) -> String { lines.map { "    " + $0 }.joined(separator: "\n") }

    static func hex(_ number: UInt32) -> String { "0x" + String(number, radix: 16) }
}
