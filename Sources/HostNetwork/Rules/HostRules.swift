import SandboxModel

/// The rules in the daemon's own namespace, for all slots of a host: once more what a slot's own rules say of addresses,
/// so that a machine that breaks out of its rules, but not out of its namespace, still reaches nothing but the internet.
///
/// - prerouting: packets of a slot come from its own addresses (RFC 2827);
/// - input: none is for the host, whatever addresses that has;
/// - forward: none is for another slot or a blocked address, and only answers go to a slot;
/// - postrouting: they go out under the host's address.
enum HostRules {
    static func script(
        subnet: SlotSubnet, blocked: [IPv4Prefix], opened: [NetworkRule], translates: Bool
    ) -> String {
        let slots = "\"\(subnet.linkPrefix)*\""
        let blocked = AddressSets("blocked", blocked.map { .init(prefix: $0, ports: []) })
        let opened = AddressSets("opened", rules: opened)
        var lines = blocked.declarations + opened.declarations
        lines += SlotRules.chain(
            "prerouting",
            [
                "type filter hook prerouting priority -150; policy accept;",
                "iifname != \(slots) accept",
                "meta nfproto != ipv4 drop",
                "ip saddr != \(subnet) drop",
                "fib saddr . iif oif missing drop",
            ])
        lines += SlotRules.chain(
            "input",
            [
                "type filter hook input priority -10; policy accept;",
                "iifname != \(slots) accept",
                "ip daddr \(subnet) drop",
            ] + opened.rules("accept", looksAtPacket: true) + ["drop"])
        lines += SlotRules.chain(
            "forward",
            [
                "type filter hook forward priority -10; policy accept;",
                "oifname \(slots) goto to_slot",
                "iifname \(slots) goto from_slot",
            ])
        lines += SlotRules.chain(
            "to_slot",
            [
                "iifname \(slots) drop",
                "ct direction reply ct state established,related accept",
                "drop",
            ])
        lines += SlotRules.chain(
            "from_slot",
            ["ip daddr \(subnet) drop"] + opened.rules("accept", looksAtPacket: true)
                + blocked.rules("drop", looksAtPacket: true) + ["accept"])
        if translates {
            lines += SlotRules.chain(
                "postrouting",
                [
                    "type nat hook postrouting priority 100; policy accept;",
                    "ip saddr \(subnet) oifname != \(slots) masquerade",
                ])
        }
        return removal(of: subnet) + "table inet \(subnet.table) {\n\(SlotRules.indented(lines))\n}\n"
    }

    /// A transaction that removes them, if they are there.
    static func removal(of subnet: SlotSubnet) -> String {
        "table inet \(subnet.table)\ndelete table inet \(subnet.table)\n"
    }
}
