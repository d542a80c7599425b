import Glibc
import LinuxSystem
import Logging
import SandboxModel

/// A subnet that is this daemon's alone for as long as it runs: a lock tells other daemons, and what the host already
/// uses is left alone.
struct SubnetClaim: Sendable {
    let subnet: SlotSubnet
    /// Links of this subnet that an earlier daemon has left, by slot.
    let left: [Int: String]
    private let lock: FileLock

    /// Takes the subnet asked for, else the one this daemon had before, else the first that is free: where machines of
    /// another daemon still run is not, also while that daemon does not.
    ///
    /// To be called on a thread in the host's namespace, `links` being its own.
    ///
    /// - Throws: `failed_precondition` when the one asked for is in use, `unsupported` when none is free.
    static func take(
        _ configuration: HostNetworkConfiguration, links: NetworkLinks, logger: Logger
    ) throws -> SubnetClaim {
        try makeDirectory(configuration.directory, mode: 0o700)
        try makeDirectory(configuration.claims, mode: 0o755)
        let memory = configuration.directory + "/subnet"
        if let wanted = configuration.subnet {
            let subnet = try SlotSubnet(wanted)
            switch try insist(on: subnet, configuration, links) {
            case .success(let claim):
                try claim.remember(memory)
                return claim
            case .failure(let obstacle):
                throw MartletError(
                    .failedPrecondition,
                    "network: subnet \(subnet): \(obstacle.reason); choose another with --network-subnet")
            }
        }
        var reasons: [String] = []
        if let subnet = remembered(memory) {
            switch try insist(on: subnet, configuration, links) {
            case .success(let claim): return claim
            case .failure(let obstacle):
                logger.warning(
                    "the subnet of the last run cannot be had; what still runs there is ended",
                    metadata: ["subnet": "\(subnet)", "reason": "\(obstacle.reason)"])
                reasons.append("\(subnet): \(obstacle.reason)")
            }
        }
        let host = try HostUse(links)
        for subnet in SlotSubnet.candidates {
            // Machines that still run there are another data directory's: its next daemon comes back for them.
            guard host.links(of: subnet).isEmpty else {
                reasons.append("\(subnet): in use by machines of another daemon of Martlet")
                continue
            }
            switch try attempt(subnet, configuration, host) {
            case .success(let claim):
                try claim.remember(memory)
                return claim
            case .failure(let obstacle): reasons.append("\(subnet): \(obstacle.reason)")
            }
        }
        throw MartletError(
            .unsupported,
            "network: none of 10.201.0.0/16 to 10.231.0.0/16 is free (\(reasons.first ?? "")); choose a free subnet with "
                + "--network-subnet")
    }

    private struct Obstacle: Error { var reason: String }

    /// How long a daemon that died a moment ago may stand in the way of the next one: until each process it was just
    /// starting has become the program, such a process shares its lock.
    private static let patience = Duration.seconds(2)

    /// Takes a subnet that must be this one: what runs in it is lost with another. Blocks the thread meanwhile.
    private static func insist(
        on subnet: SlotSubnet, _ configuration: HostNetworkConfiguration, _ links: NetworkLinks
    ) throws -> Result<SubnetClaim, Obstacle> {
        let end = ContinuousClock.now + patience
        while true {
            let host = try HostUse(links)
            let result = try attempt(subnet, configuration, host)
            // With nothing left of it there is nothing to lose.
            if case .failure = result, !host.links(of: subnet).isEmpty, ContinuousClock.now < end {
                usleep(10_000)
                continue
            }
            return result
        }
    }

    private static func attempt(
        _ subnet: SlotSubnet, _ configuration: HostNetworkConfiguration, _ host: HostUse
    ) throws -> Result<SubnetClaim, Obstacle> {
        if let user = host.user(of: subnet) { return .failure(Obstacle(reason: "in use by \(user)")) }
        // One lock for the whole /16, so that subnets of different sizes meet.
        let whole = IPv4Prefix(subnet.prefix.address, length: SlotSubnet.shortestLength)
        guard let lock = try FileLock.attempt("\(configuration.claims)/subnet-\(whole.address)") else {
            return .failure(Obstacle(reason: "in use by another daemon of Martlet"))
        }
        return .success(SubnetClaim(subnet: subnet, left: host.links(of: subnet), lock: lock))
    }

    private static func remembered(_ path: String) -> SlotSubnet? {
        guard let bytes = try? AtomicFile.read(path, limit: 64),
            let prefix = IPv4Prefix(String(decoding: bytes.prefix { $0 > 32 }, as: UTF8.self))
        else { return nil }
        return try? SlotSubnet(prefix)
    }

    private func remember(_ path: String) throws {
        try AtomicFile.write(Array("\(subnet)\n".utf8), to: path)
    }

    private static func makeDirectory(_ path: String, mode: mode_t) throws {
        guard mkdir(path, mode) != 0, errno != EEXIST else { return }
        throw SystemError("mkdir", path, errno: errno)
    }
}

/// The addresses a host uses.
struct HostUse {
    private let ranges: [(user: String, prefix: IPv4Prefix)]
    private let links: [NetworkLinks.Link]
    /// The addresses of the host's own interfaces.
    let addresses: [IPv4Address]

    init(_ network: NetworkLinks) throws(SystemError) {
        let before = try network.all()
        let listed = try network.ranges()
        links = try network.all()
        let names = Dictionary((before + links).map { ($0.index, $0.name) }, uniquingKeysWith: { _, last in last })
        // A link that is being removed is off the list before its addresses and routes are: they are nobody's any more.
        let found = listed.filter { $0.link == 0 || names[$0.link] != nil }
        ranges = found.filter { $0.prefixLength > 0 }.map { range in
            (
                names[range.link] ?? "a route",
                IPv4Prefix(IPv4Address(bits: range.address), length: min(32, range.prefixLength))
            )
        }
        addresses = found.filter(\.isAddress).map { IPv4Address(bits: $0.address) }
    }

    /// Who uses a part of the subnet, other than slots of it that are left over.
    func user(of subnet: SlotSubnet) -> String? {
        ranges.first { subnet.index(ofLink: $0.user) == nil && $0.prefix.overlaps(subnet.prefix) }
            .map { "\($0.user) (\($0.prefix))" }
    }

    func links(of subnet: SlotSubnet) -> [Int: String] {
        var found: [Int: String] = [:]
        for link in links {
            if let index = subnet.index(ofLink: link.name) { found[index] = link.name }
        }
        return found
    }
}
