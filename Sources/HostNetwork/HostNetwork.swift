import Glibc
import LinuxSystem
import Logging
import NIOCore
import SandboxModel
import ServiceLifecycle

/// The networks of one host's sandboxes: slots, each a network namespace with its own address.
///
/// Call `open`, then `adopt` for each sandbox that still runs, then `recovered` once, and keep `run()` running.
package actor HostNetwork: Service {
    private let tools: SlotTools
    private let claim: SubnetClaim
    private let pooledSlots: Int
    private let logger: Logger
    /// Slots that are nobody's, those given back last at the end, so that an address rests as long as it can.
    private var free: Line<Int>
    private var ready: [SlotEnd: Line<NetworkSlot>] = [:]
    /// The kinds of slots that were asked for, and so are kept ready.
    private var wanted: Set<SlotEnd> = [.tap]
    private var used: [Int: NetworkSlot] = [:]
    /// Slots an earlier daemon has left, until they are adopted or removed.
    private var left: Set<Int>
    /// Slots given back whose links are still there, and who waits for each.
    private var leaving: [(index: Int, done: CheckedContinuation<Void, Never>)] = []
    private var isSweeping = false
    private var isStopping = false
    private let wakes: AsyncStream<Void>
    private let wake: AsyncStream<Void>.Continuation

    /// Attempts to make a slot whose link's name is taken, each with another index.
    private static let mostAttempts = 8

    /// Prepares the host: takes a subnet, sets up forwarding and the host's own rules, and makes a first slot, which
    /// shows that all it takes is there.
    ///
    /// - Throws: `unsupported` naming the kernel feature, permission or program that is missing; `failed_precondition`
    ///   when the subnet is in use.
    package static func open(
        _ configuration: HostNetworkConfiguration, logger: Logger, group: any EventLoopGroup
    ) async throws -> HostNetwork {
        var step = "library"
        do {
            let nftables = try Nftables.load()
            step = "threads"
            let urgent = try NetworkThread(home: configuration.hostNamespace, name: "martlet-net")
            let background = try NetworkThread(home: urgent.home, name: "martlet-slots")
            let watcher = try SocketWatcher(name: "martlet-sockets")
            step = "subnet"
            let urgentLinks = try await urgent.run(.handOut) { try NetworkLinks() }
            let links = try await background.run(.handOut) { try NetworkLinks() }
            let claim = try await background.run(.handOut) {
                try SubnetClaim.take(configuration, links: links, logger: logger)
            }
            let blocked = BlockedAddresses(subnet: claim.subnet, opened: configuration.opened)
            step = "host rules"
            let trust = try await background.run(.handOut) {
                try HostNetwork.prepareHost(
                    configuration, claim, blocked, links, nftables, home: background.home, logger)
                return try UpstreamTrust.load(extraTrustRoots: configuration.extraTrustRoots)
            }
            let environment = ProxyEnvironment(
                group: group,
                nameServers: configuration.nameServers.isEmpty ? NameServers.ofHost() : configuration.nameServers,
                isBlocked: { blocked.contains($0, $1) }, trust: trust, logger: logger)
            let network = HostNetwork(
                tools: SlotTools(
                    subnet: claim.subnet, nftables: nftables, urgent: urgent, background: background,
                    urgentLinks: urgentLinks, backgroundLinks: links, watcher: watcher, blocked: blocked,
                    environment: environment, logger: logger),
                claim: claim, pooledSlots: configuration.pooledSlots, logger: logger)
            step = "first slot"
            try await network.fill(.tap, to: 1)
            return network
        } catch {
            throw MartletError.network(error, step)
        }
    }

    private init(tools: SlotTools, claim: SubnetClaim, pooledSlots: Int, logger: Logger) {
        self.tools = tools
        self.claim = claim
        self.pooledSlots = pooledSlots
        self.logger = logger
        left = Set(claim.left.keys)
        free = Line((0..<claim.subnet.capacity).filter { claim.left[$0] == nil })
        (wakes, wake) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
        wake.yield()
    }

    private static func prepareHost(
        _ configuration: HostNetworkConfiguration, _ claim: SubnetClaim, _ blocked: BlockedAddresses,
        _ links: NetworkLinks, _ nftables: Nftables, home: Descriptor, _ logger: Logger
    ) throws {
        blocked.setHost(try HostUse(links).addresses)
        // Rules first: with them in place forwarding opens nothing for slots.
        try nftables.apply(
            HostRules.script(
                subnet: claim.subnet, blocked: blocked.prefixes, opened: configuration.opened,
                translates: configuration.translates), in: home)
        if NetworkNamespace.parameter("ipv4/ip_forward") != "1" {
            try NetworkNamespace.set("ipv4/ip_forward", to: "1")
            logger.notice("forwarding of IPv4 switched on, for sandboxes that have a network")
        }
    }

    // MARK: Slots

    /// A slot that nobody else has, closed as yet: one that is ready, else one made now.
    ///
    /// - Throws: `resource_exhausted` when all slots are taken.
    package func lease(_ end: SlotEnd = .tap) async throws -> NetworkSlot {
        defer { wake.yield() }
        wanted.insert(end)
        if let slot = ready[end]?.take() {
            used[slot.index] = slot
            return slot
        }
        let slot = try await make(end, .handOut)
        used[slot.index] = slot
        return slot
    }

    /// Takes over the slot of a machine that an earlier daemon has left: `process` lives in its namespace. Packet rules
    /// stay as they are until `apply`.
    ///
    /// - Throws: `failed_precondition` when that is not a slot's namespace, or the slot is somebody's.
    package func adopt(index: Int, process: Int32) async throws -> NetworkSlot {
        guard left.remove(index) != nil else {
            throw MartletError(
                .failedPrecondition, "network: slot \(index): it has no link left from an earlier daemon")
        }
        do {
            let home = tools.background.home
            let namespace = try await tools.background.run(.handOut) {
                let namespace = try NetworkNamespace.of(process: process)
                guard !NetworkNamespace.areSame(namespace, home) else {
                    throw MartletError(.failedPrecondition, "process \(process) lives in the host's namespace")
                }
                return namespace
            }
            try await tools.background.run(in: namespace, .handOut) {
                let links = try NetworkLinks()
                for name in [SlotRules.uplink, SlotRules.tap] { _ = try links.index(of: name) }
            }
            // What is on its other side does not matter any more.
            let slot = NetworkSlot(index: index, end: .link, namespace: namespace, parts: nil, tools: tools)
            used[index] = slot
            return slot
        } catch {
            left.insert(index)
            throw MartletError(.failedPrecondition, "network: slot \(index): \(error)")
        }
    }

    /// Says that every slot still in use is adopted: what else an earlier daemon left is removed.
    package func recovered() async {
        let indexes = left.sorted()
        left = []
        guard !indexes.isEmpty else { return }
        logger.info("removing networks that an earlier daemon left", metadata: ["count": "\(indexes.count)"])
        await withDiscardingTaskGroup { group in
            for index in indexes { group.addTask { await self.sweep(index) } }
        }
    }

    /// Takes a slot back; its namespace is not used again. Returns when its links are gone. Idempotent.
    package func release(_ slot: NetworkSlot) async {
        guard used[slot.index] === slot else { return }
        used[slot.index] = nil
        await slot.giveBack()
        await sweep(slot.index)
    }

    /// What there is.
    package func report() async -> HostNetworkReport {
        HostNetworkReport(
            subnet: tools.subnet.prefix, capacity: tools.subnet.capacity, used: used.count,
            ready: ready.values.reduce(0) { $0 + $1.count })
    }

    // MARK: Making and removing

    private func make(_ end: SlotEnd, _ urgency: NetworkThread.Urgency) async throws -> NetworkSlot {
        var failure: any Error = MartletError(
            .resourceExhausted, "network: all \(tools.subnet.capacity) slots of \(tools.subnet) are taken")
        for _ in 0..<HostNetwork.mostAttempts {
            guard let index = free.take() else { break }
            do {
                let builder = SlotBuilder(
                    subnet: tools.subnet, nftables: tools.nftables, host: tools.backgroundLinks)
                let facts = tools.blocked.facts(of: tools.subnet.slotAddress(index))
                let home = tools.background.home
                let parts = try await tools.background.run(urgency) {
                    try builder.make(index, end, home: home, facts: facts)
                }
                return NetworkSlot(
                    index: index, end: end, namespace: parts.namespace, parts: parts, tools: tools)
            } catch let error as SystemError where error.errno == EEXIST {
                // Somebody else's link has the name; it may be gone when the slot's turn comes again.
                free.append(index)
                failure = error
            } catch {
                free.append(index)
                throw MartletError.network(error, "slot \(index)")
            }
        }
        throw MartletError.network(failure, "slot")
    }

    private func fill(_ end: SlotEnd, to count: Int) async throws {
        while ready[end]?.count ?? 0 < count, !isStopping, !free.isEmpty {
            let slot = try await make(end, .background)
            ready[end, default: Line()].append(slot)
        }
    }

    /// Removes a slot's link and what the host remembers of it; many that come at once go in one stroke.
    private func sweep(_ index: Int) async {
        guard !isSweeping else { return await withCheckedContinuation { leaving.append((index, $0)) } }
        isSweeping = true
        await remove([index])
        while !leaving.isEmpty {
            let batch = leaving
            leaving = []
            await remove(batch.map(\.index))
            for (_, done) in batch { done.resume() }
        }
        isSweeping = false
    }

    private func remove(_ indexes: [Int]) async {
        let (subnet, links) = (tools.subnet, tools.backgroundLinks)
        do {
            try await tools.background.run(.background) {
                try links.delete(indexes.map(subnet.link), group: subnet.group)
                let netfilter = try Netfilter()
                for index in indexes { try netfilter.forgetConnections(from: subnet.slotAddress(index).bits) }
            }
        } catch {
            logger.warning("removing slots failed", metadata: ["error": "\(error)", "count": "\(indexes.count)"])
        }
        free.append(contentsOf: indexes)
    }

    // MARK: Service

    /// Keeps slots ready until the service group shuts down; then removes what nobody uses.
    package func run() async throws {
        await withGracefulShutdownHandler {
            for await _ in wakes {
                do {
                    for end in SlotEnd.allCases where wanted.contains(end) { try await fill(end, to: pooledSlots) }
                } catch {
                    logger.warning("making slots failed", metadata: ["error": "\(error)"])
                }
            }
        } onGracefulShutdown: { [wake] in
            wake.finish()
        }
        await close()
    }

    /// Removes the slots kept ready, and the host's rules if no sandbox is left that they guard. Slots of sandboxes that
    /// go on are let go of for the next daemon.
    private func close() async {
        isStopping = true
        for slot in used.values { await slot.giveBack() }
        let slots = SlotEnd.allCases.flatMap { ready[$0]?.takeAll() ?? [] }
        await withDiscardingTaskGroup { group in
            for slot in slots {
                group.addTask {
                    await slot.giveBack()
                    await self.sweep(slot.index)
                }
            }
        }
        guard used.isEmpty, left.isEmpty else { return }
        let (nftables, subnet) = (tools.nftables, tools.subnet)
        let home = tools.background.home
        try? await tools.background.run(.background) { try nftables.apply(HostRules.removal(of: subnet), in: home) }
    }
}

/// The network of one host in numbers.
package struct HostNetworkReport: Sendable {
    package var subnet: IPv4Prefix
    /// Slots there can be at once.
    package var capacity: Int
    package var used: Int
    package var ready: Int

    package init(subnet: IPv4Prefix, capacity: Int, used: Int, ready: Int) {
        self.subnet = subnet
        self.capacity = capacity
        self.used = used
        self.ready = ready
    }
}
