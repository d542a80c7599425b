import LinuxSystem
import SandboxModel
import Synchronization

extension NetworkSlot {
    /// Bytes that may go at once after a pause: those of some milliseconds, and at least the largest packet a tap takes.
    private static let burstMilliseconds: UInt64 = 4
    private static let leastBurst: UInt64 = 128 << 10
    private static let queueMilliseconds: UInt64 = 50
    /// What one read of the log may bring; the kernel's messages are smaller.
    private static let logReadBytes = 32 << 10
    private static let readsAtOnce = 8

    /// Puts a policy in force, at once and as a whole; connections that it does not allow end.
    ///
    /// When it cannot be put in force, the slot is closed.
    ///
    /// - Parameter onDenial: told of what is refused, a bounded number a second; called from any thread, must not block.
    package func apply(
        _ network: SandboxNetwork, onDenial: @escaping @Sendable (NetworkDenial) -> Void
    ) async throws {
        try await turn.withLock { [self] in
            try checkHeld()
            denials.tell(onDenial)
            do {
                try await put(network)
            } catch {
                try? await close()
                throw MartletError(.internal, "network: slot \(index): policy: \(error); it is closed now")
            }
        }
    }

    private func put(_ network: SandboxNetwork) async throws {
        let rules = PolicyRules(network, facts: tools.blocked.facts(of: address))
        let hasLog = state.withLock { $0.log != nil }
        if !hasLog { try await openLog() }
        if rules.needsNames {
            do {
                try await proxy().apply(network)
            } catch let error as MartletError where error.code == .unsupported && !rules.needsProxy {
                // Names are not served yet: what goes by address does, look-ups are refused.
            }
        }
        try await commit(rules)
        if !rules.needsNames { await stopProxy() }
    }

    /// Takes everything away that a policy gave.
    private func close() async throws {
        await stopProxy()
        try await commit(PolicyRules(.closed, facts: tools.blocked.facts(of: address)))
    }

    private func commit(_ rules: PolicyRules) async throws {
        let (current, hasForeignBase) = state.withLock { ($0.rules, $0.hasForeignBase) }
        if rules != current {
            let facts = tools.blocked.facts(of: address)
            let base = hasForeignBase ? SlotRules.removal + SlotRules.definition(facts) : ""
            let script = base + rules.script(replacing: current)
            let nftables = tools.nftables
            state.withLock { $0.rules = nil }
            let denied = try await tools.urgent.run(in: namespace, .handOut) { [namespace] in
                let denied = hasForeignBase ? NetworkSlot.deniedPackets() : 0
                try nftables.apply(script, in: namespace)
                return denied
            }
            state.withLock { state in
                state.rules = rules
                state.hasForeignBase = false
                state.deniedBefore += denied
            }
        }
        try await limit(to: rules.rate)
    }

    private func limit(to rate: UInt64?) async throws {
        let isInForce = state.withLock { $0.isRateKnown && $0.rate == rate }
        if isInForce { return }
        state.withLock { $0.isRateKnown = false }
        let perMillisecond = (rate ?? 0) / 1000
        let burst = UInt32(clamping: max(NetworkSlot.leastBurst, perMillisecond * NetworkSlot.burstMilliseconds))
        let queue = UInt32(clamping: UInt64(burst) + perMillisecond * NetworkSlot.queueMilliseconds)
        try await tools.urgent.run(in: namespace, .handOut) {
            let links = try NetworkLinks()
            for name in [SlotRules.uplink, SlotRules.tap] {
                try links.setRate(rate, burst: burst, queue: queue, on: try links.index(of: name))
            }
        }
        state.withLock { state in
            state.rate = rate
            state.isRateKnown = true
        }
    }

    // MARK: Names

    private func proxy() async throws -> SlotProxy {
        if let proxy = state.withLock({ $0.proxy }) { return proxy }
        let sockets = try await connector.sockets()
        let proxy = try await SlotProxy.start(
            sockets: sockets, connector: connector, environment: tools.environment,
            onDenial: { [denials, weak self] denial in
                self?.deniedByNames.add(UInt64(max(0, denial.count)), ordering: .relaxed)
                denials.add(denial)
            })
        state.withLock { $0.proxy = proxy }
        return proxy
    }

    private func stopProxy() async {
        guard let proxy = state.withLock({ $0.proxy.take() }) else { return }
        await proxy.stop()
    }

    // MARK: Denials

    private func openLog() async throws {
        let socket = try await tools.urgent.run(in: namespace, .handOut) {
            try Netfilter.log(group: SlotRules.logGroup, range: SlotRules.loggedBytes)
        }
        let watch = try tools.watcher.whenReadable(socket) { [denials] _ in
            for _ in 0..<NetworkSlot.readsAtOnce {
                guard let bytes = try? socket.read(upTo: NetworkSlot.logReadBytes), !bytes.isEmpty else { return }
                for packet in bytes.withUnsafeBytes({ LoggedPacket.packets(in: $0) }) { denials.add(packet.denial()) }
            }
        }
        state.withLock { $0.log = watch }
    }

    /// Gives back all but the namespace, which ends with the last that lives in it. Idempotent.
    func giveBack() async {
        await turn.withLock { [self] in
            let (log, tap) = state.withLock { state in
                state.isReleased = true
                return (state.log.take(), state.tap.take())
            }
            connector.close()
            tap?.close()
            await stopProxy()
            if let log { tools.watcher.cancel(log) }
            denials.close()
        }
    }
}

extension LoggedPacket {
    /// What it tells a sandbox's owner.
    func denial() -> NetworkDenial {
        NetworkDenial(
            time: Timestamp(milliseconds: Clocks.realtimeMilliseconds), kind: Refusal(rawValue: rule)?.kind ?? .packet,
            rule: rule, transport: transport,
            address: address.map(\.description), port: port)
    }
}
