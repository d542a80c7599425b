import CLinux
import Glibc
import LinuxSystem
import SandboxModel

/// Finds out, without changing the host, whether sandboxes can have a network here and what is in the way.
///
/// What the kernel can do is tried in namespaces made for it and gone afterwards.
package struct HostNetworkExamination: Sendable {
    /// One thing that networks need.
    package struct Finding: Sendable, Equatable {
        package var name: String
        package var isThere: Bool
        /// Whether there is no network without it, rather than one with a flaw.
        package var isRequired: Bool
        package var detail: String
        /// What to do about it, when it is not there.
        package var fix: String?
    }

    private let configuration: HostNetworkConfiguration

    package init(_ configuration: HostNetworkConfiguration) { self.configuration = configuration }

    /// Everything there is to find; needs a moment.
    package func findings() async -> [Finding] {
        guard geteuid() == 0 else {
            return [
                missing(
                    "network: permission", "user \(geteuid()), not root: sandboxes have no network card",
                    fix: "run the daemon as root")
            ]
        }
        do {
            let thread = try NetworkThread(home: configuration.hostNamespace, name: "martlet-doctor")
            return try await thread.run(.background) { [self] in examine(home: thread.home) }
        } catch {
            return [missing("network: namespaces", "\(error)", fix: "run the daemon where it may make namespaces")]
        }
    }

    private func examine(home: Descriptor) -> [Finding] {
        var findings = [device, namespaces(home)]
        guard findings.allSatisfy(\.isThere) else { return findings }
        findings.append(library)
        guard let nftables = try? Nftables.load() else { return findings }
        let kernel = TrialSlot(nftables: nftables, home: home).findings()
        findings += kernel.map { finding in
            finding.failure.map { missing("network: \(finding.name)", $0, fix: finding.fix) }
                ?? there("network: \(finding.name)", finding.detail)
        }
        if let links = try? NetworkLinks(), let use = try? HostUse(links) { findings.append(subnet(use)) }
        return findings + [forwarding, otherFirewall(nftables, home)]
    }

    // MARK: What is looked at

    private var device: Finding {
        access("/dev/net/tun", R_OK | W_OK) == 0
            ? there("network: /dev/net/tun", "usable")
            : missing(
                "network: /dev/net/tun", "not there, or not usable",
                fix: "modprobe tun; in a container, pass the device in")
    }

    private func namespaces(_ home: Descriptor) -> Finding {
        do {
            _ = try NetworkNamespace.enterNew()
            try NetworkNamespace.enter(home)
            return there("network: namespaces", "can be made")
        } catch {
            return missing(
                "network: namespaces", "\(error)",
                fix: "give the daemon CAP_SYS_ADMIN and CAP_NET_ADMIN, and use a kernel with CONFIG_NET_NS")
        }
    }

    private var library: Finding {
        do {
            _ = try Nftables.load()
            return there("network: nftables' library", "found")
        } catch {
            return missing(
                "network: nftables' library", error.reason,
                fix: "apt-get install nftables, or run scripts/install-dependencies")
        }
    }

    private func subnet(_ use: HostUse) -> Finding {
        let name = "network: subnet"
        if let wanted = configuration.subnet {
            guard let subnet = try? SlotSubnet(wanted) else {
                return missing(
                    name, "\(wanted) is no range of length /16 to /30", fix: "set --network-subnet to such a range")
            }
            guard let user = use.user(of: subnet) else { return there(name, "\(subnet) is free") }
            return missing(name, "\(subnet) is in use by \(user)", fix: "set --network-subnet to a range that is free")
        }
        let free = SlotSubnet.candidates.filter { use.user(of: $0) == nil }
        guard let first = free.first, let last = free.last else {
            return missing(
                name, "none of 10.201.0.0/16 to 10.231.0.0/16 is free",
                fix: "set --network-subnet to a range that is free")
        }
        return there(name, "\(free.count) free, from \(first) to \(last)")
    }

    private var forwarding: Finding {
        let name = "network: forwarding"
        switch NetworkNamespace.parameter("ipv4/ip_forward") {
        case "1": return there(name, "on")
        case nil: return missing(name, "the kernel does not tell", fix: "mount /proc")
        default: break
        }
        return access("/proc/sys/net/ipv4/ip_forward", W_OK) == 0
            ? there(name, "off; the daemon switches it on")
            : missing(name, "off, and /proc/sys cannot be written to", fix: "sysctl -w net.ipv4.ip_forward=1")
    }

    /// Rules of others are not touched; but they may drop what ours let through.
    private func otherFirewall(_ nftables: Nftables, _ home: Descriptor) -> Finding {
        let name = "network: other firewalls"
        let chains = (try? nftables.query("list chains", in: home)) ?? ""
        var table = ""
        for line in chains.split(separator: "\n") {
            if line.hasPrefix("table ") {
                table = line.split(separator: " ").dropFirst().prefix(2).joined(separator: " ")
            }
            guard line.contains("hook forward"), line.contains("policy drop"), !table.contains(" martlet_") else {
                continue
            }
            return Finding(
                name: name, isThere: false, isRequired: false,
                detail: "table \(table) drops what it does not know of all that is forwarded",
                fix: "let packets from and to Martlet's links pass there: "
                    + "iptables -I FORWARD -i 'mt+' -j ACCEPT; iptables -I FORWARD -o 'mt+' -j ACCEPT "
                    + "(with Docker the chain is DOCKER-USER)")
        }
        return there(name, "none drops what is forwarded")
    }

    private func there(_ name: String, _ detail: String) -> Finding {
        Finding(name: name, isThere: true, isRequired: true, detail: detail)
    }

    private func missing(_ name: String, _ detail: String, fix: String) -> Finding {
        Finding(name: name, isThere: false, isRequired: true, detail: detail, fix: fix)
    }
}
