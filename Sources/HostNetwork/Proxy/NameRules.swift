import SandboxModel

/// Rules over names, found without walking through all of them: a policy of thousands costs no more than one of few.
struct NameRules: Sendable {
    private var exact: [String: [PortRange]] = [:]
    private var below: [String: [PortRange]] = [:]

    /// - Parameter portsUnlessSaid: what a rule that names no ports is about.
    init(_ rules: [NetworkRule], portsUnlessSaid: [PortRange]) {
        for rule in rules {
            guard case .host(let pattern) = rule.target else { continue }
            let ports = rule.ports.isEmpty ? portsUnlessSaid : rule.ports
            if pattern.isWildcard {
                below[pattern.name, default: []].append(contentsOf: ports)
            } else {
                exact[pattern.name, default: []].append(contentsOf: ports)
            }
        }
    }

    var isEmpty: Bool { exact.isEmpty && below.isEmpty }

    /// The ports of all rules that match a name; empty where none does.
    ///
    /// Preconditions: `name` is normalized.
    func ports(of name: String) -> [PortRange] {
        var found = exact[name] ?? []
        guard !below.isEmpty else { return found }
        var rest = Substring(name)
        while let dot = rest.firstIndex(of: ".") {
            rest = rest[rest.index(after: dot)...]
            if let ports = below[String(rest)] { found.append(contentsOf: ports) }
        }
        return found
    }
}

/// Rules over addresses, found by the few lengths of prefix there are.
struct AddressRules: Sendable {
    private var byLength: [(length: Int, ports: [IPv4Address: [PortRange]])] = []

    init(_ rules: [NetworkRule]) {
        var collected: [Int: [IPv4Address: [PortRange]]] = [:]
        for rule in rules {
            guard case .addresses(let prefix) = rule.target else { continue }
            collected[prefix.length, default: [:]][prefix.address, default: []].append(
                contentsOf: rule.effectivePorts)
        }
        byLength = collected.sorted { $0.key > $1.key }.map { ($0.key, $0.value) }
    }

    func covers(_ address: IPv4Address, port: UInt16) -> Bool {
        byLength.contains { length, ports in
            ports[IPv4Prefix(address, length: length).address]?.contains { $0.contains(port) } ?? false
        }
    }
}
