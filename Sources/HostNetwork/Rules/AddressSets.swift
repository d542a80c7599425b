import SandboxModel

/// Rules about addresses as sets of nftables that hold any number of them at the price of a few look-ups a packet.
///
/// The kernel's sets of ranges refuse elements that overlap in part. Prefixes of one length are the same or apart, so
/// each length has a set of its own, and 4096 rules that nest in any way stay 4096 elements.
struct AddressSets: Equatable {
    /// One rule: addresses, and the ports it is about; no ports stand for every port and protocol.
    struct Entry: Equatable {
        var prefix: IPv4Prefix
        var ports: [PortRange]
    }

    private struct Element: Hashable {
        var prefix: IPv4Prefix
        var ports: PortRange
    }

    let name: String
    /// Prefixes that matter whatever the port; apart from each other.
    private let whole: [IPv4Prefix]
    private let byLength: [Int: [Element]]

    init(_ name: String, _ entries: [Entry]) {
        self.name = name
        whole = AddressSets.disjoint(entries.filter(\.ports.isEmpty).map(\.prefix))
        var ports: [IPv4Prefix: [PortRange]] = [:]
        for entry in entries where !entry.ports.isEmpty { ports[entry.prefix, default: []] += entry.ports }
        var byLength: [Int: [Element]] = [:]
        for prefix in ports.keys.sorted(by: AddressSets.isBefore) {
            for range in AddressSets.merged(ports[prefix] ?? []) {
                byLength[prefix.length, default: []].append(Element(prefix: prefix, ports: range))
            }
        }
        self.byLength = byLength
    }

    /// Those rules of a policy that name addresses.
    init(_ name: String, rules: [NetworkRule]) {
        self.init(
            name,
            rules.compactMap { rule in
                guard case .addresses(let prefix) = rule.target else { return nil }
                return Entry(prefix: prefix, ports: rule.ports)
            })
    }

    /// The sets themselves, in lines of a table.
    var declarations: [String] {
        var lines: [String] = []
        if !whole.isEmpty, !coversEverything {
            lines.append(declaration(name, "ipv4_addr", whole.map(\.description)))
        }
        for length in byLength.keys.sorted() {
            let elements = byLength[length, default: []].map { "\($0.prefix) . \($0.ports)" }
            lines.append(declaration("\(name)_\(length)", "ipv4_addr . inet_service", elements))
        }
        return lines
    }

    /// Rules that apply `verdict` to what the sets hold.
    ///
    /// - Parameter looksAtPacket: matches the packet itself; else the connection's first packet, in whichever direction
    ///   this one goes and whatever its addresses have been translated to.
    func rules(_ verdict: String, looksAtPacket: Bool = false) -> [String] {
        let address = looksAtPacket ? "ip daddr" : "ct original ip daddr"
        let port = looksAtPacket ? "th dport" : "ct original proto-dst"
        let transport = looksAtPacket ? "meta l4proto { tcp, udp }" : "ct original protocol { tcp, udp }"
        var lines: [String] = []
        if coversEverything {
            lines.append(verdict)
        } else if !whole.isEmpty {
            lines.append("\(address) @\(name) \(verdict)")
        }
        for length in byLength.keys.sorted() {
            lines.append("\(transport) \(address) . \(port) @\(name)_\(length) \(verdict)")
        }
        return lines
    }

    private var coversEverything: Bool { whole.first?.length == 0 }

    private func declaration(_ name: String, _ type: String, _ elements: [String]) -> String {
        "set \(name) { type \(type); flags interval; elements = { \(elements.joined(separator: ", ")) }; }"
    }

    /// Prefixes in order, without those that lie in another.
    static func disjoint(_ prefixes: [IPv4Prefix]) -> [IPv4Prefix] {
        var kept: [IPv4Prefix] = []
        for prefix in prefixes.sorted(by: isBefore) {
            if let last = kept.last, last.contains(prefix.address) { continue }
            kept.append(prefix)
        }
        return kept
    }

    /// Ranges in order, those that touch or overlap as one.
    static func merged(_ ranges: [PortRange]) -> [PortRange] {
        var kept: [PortRange] = []
        for range in ranges.sorted(by: { ($0.first, $0.last) < ($1.first, $1.last) }) {
            if let last = kept.last, Int(range.first) <= Int(last.last) + 1 {
                kept[kept.count - 1] = PortRange(last.first, max(last.last, range.last))
            } else {
                kept.append(range)
            }
        }
        return kept
    }

    private static func isBefore(_ left: IPv4Prefix, _ right: IPv4Prefix) -> Bool {
        (left.address, left.length) < (right.address, right.length)
    }
}
