import LinuxSystem
import SandboxModel

/// Tries each thing a slot takes in namespaces of their own, to tell which one is missing.
struct TrialSlot {
    struct Finding {
        var name: String
        var detail: String
        /// Why it cannot be had; nil when it can.
        var failure: String?
        var fix: String
    }

    let nftables: Nftables
    let home: Descriptor

    /// The kernel's options for each; all are in the kernels of the large distributions.
    private static let rules: [(name: String, script: String, option: String)] = [
        (
            "rules of an interface",
            "table netdev x { chain c { type filter hook ingress device \"tap0\" priority 0; }; }", "NF_TABLES_NETDEV"
        ),
        (
            "tracked connections",
            "table ip x { chain c { ct state invalid drop; ct original protocol tcp ct original proto-dst 53 drop; }; }",
            "NFT_CT"
        ),
        ("bounds on connections", "table ip x { chain c { ct count over 5 drop; }; }", "NFT_CONNLIMIT"),
        ("translation", "table ip x { chain c { type nat hook postrouting priority 100; masquerade; }; }", "NFT_MASQ"),
        (
            "redirection",
            "table ip x { chain c { type nat hook prerouting priority -100; meta l4proto tcp redirect to :1; }; }",
            "NFT_REDIR"
        ),
        (
            "refusal",
            "table ip x { chain c { type filter hook prerouting priority 0; meta l4proto tcp reject with tcp reset; }; }",
            "NFT_REJECT"
        ),
        ("log", "table ip x { chain c { limit rate 5/second log prefix \"x\" group 1; }; }", "NFT_LOG"),
        (
            "routes of senders",
            "table inet x { chain c { type filter hook prerouting priority 0; fib saddr . iif oif missing drop; }; }",
            "NFT_FIB_INET"
        ),
        (
            "sets of ranges",
            "table ip x { set s { type ipv4_addr . inet_service; flags interval; elements = { 10.0.0.0/8 . 80-90 }; }; }",
            "NF_TABLES"
        ),
    ]

    /// The thread is at home before and after.
    func findings() -> [Finding] {
        var findings: [Finding] = []
        attempt("pairs of links", "can be made", "modprobe veth (CONFIG_VETH)", &findings) { namespace in
            let inner = try NetworkLinks()
            let other = try NetworkNamespace.enterNew()
            let links = try NetworkLinks()
            let address = HardwareAddress(2, 0, 0, 0, 0, 1)
            try links.addPair("a", address, peer: "b", address, in: namespace, mtu: 1500)
            _ = try inner.index(of: "b")
            withExtendedLifetime(other) {}
        }
        attempt("rates", "can be set", "modprobe sch_tbf (CONFIG_NET_SCH_TBF)", &findings) { _ in
            let links = try NetworkLinks()
            let tap = try SlotBuilder.makeTap(links)
            try links.setRate(1_000_000, burst: 65_536, queue: 65_536, on: try links.index(of: SlotRules.tap))
            withExtendedLifetime(tap) {}
        }
        attempt("log of packets", "can be read", "modprobe nfnetlink_log (CONFIG_NETFILTER_NETLINK_LOG)", &findings) {
            _ in
            _ = try Netfilter.log(group: SlotRules.logGroup, range: SlotRules.loggedBytes)
        }
        let failures = TrialSlot.rules.compactMap { rule -> Finding? in
            var one: [Finding] = []
            attempt("nftables, " + rule.name, "", "use a kernel with CONFIG_\(rule.option)", &one) { namespace in
                let links = try NetworkLinks()
                let tap = try SlotBuilder.makeTap(links)
                try nftables.apply(rule.script, in: namespace)
                withExtendedLifetime(tap) {}
            }
            return one.first { $0.failure != nil }
        }
        findings += failures
        if failures.isEmpty {
            let options = "a newer kernel, or a newer nftables"
            attempt("nftables", "the kernel takes every rule that slots need", options, &findings) { namespace in
                try SlotBuilder.setParameters()
                let tap = try SlotBuilder.makeTap(try NetworkLinks())
                let facts = SlotRules.Facts(
                    address: IPv4Address(10, 201, 0, 2), subnet: IPv4Prefix(IPv4Address(10, 201, 0, 0), length: 16),
                    blocked: SpecialAddresses.blocked, opened: [])
                try nftables.apply(SlotRules.definition(facts), in: namespace)
                let policy = SandboxNetwork(policy: NetworkPolicy(mode: .public))
                try nftables.apply(PolicyRules(policy, facts: facts).definition, in: namespace)
                withExtendedLifetime(tap) {}
            }
        }
        return findings
    }

    private func attempt(
        _ name: String, _ detail: String, _ fix: String, _ findings: inout [Finding],
        _ work: (Descriptor) throws -> Void
    ) {
        defer { try? NetworkNamespace.enter(home) }
        do {
            try work(try NetworkNamespace.enterNew())
            findings.append(Finding(name: name, detail: detail, failure: nil, fix: fix))
        } catch {
            findings.append(Finding(name: name, detail: detail, failure: "\(error)", fix: fix))
        }
    }
}
