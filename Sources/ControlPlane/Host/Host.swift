import MartletAPI
import Metrics
import Node
import SandboxModel

/// What this machine runs sandboxes with.
package struct Host: Sendable {
    let node: any NodeService
    let index: SandboxIndex
    let traffic: Traffic
    let configuration: ControlPlaneConfiguration

    /// Engines, the accelerator and why, capacity, pools.
    package func report() async -> HostResource {
        let report = await node.report()
        return HostResource(
            version: configuration.version, kernel: report.kernel, cpus: report.cpus, memoryBytes: report.memoryBytes,
            memoryAvailableBytes: report.memoryAvailableBytes, diskAvailableBytes: report.diskAvailableBytes,
            sandboxes: report.sandboxes, maxSandboxes: report.maxSandboxes,
            engines: report.engines.map(HostResource.Engine.init), pools: report.pools.map(HostResource.Pool.init),
            network: network(report.network))
    }

    private func network(_ network: NodeNetwork) -> HostResource.Network {
        HostResource.Network(
            available: network.isAvailable, reason: network.reason, subnet: network.subnet, slots: network.capacity,
            slotsUsed: network.used, slotsReady: network.ready, defaultMode: configuration.defaultNetwork.mode)
    }

    /// Whether sandboxes can be made: some engine works.
    package func isReady() async -> Bool { await node.report().engines.contains(where: \.isAvailable) }

    /// Sets the gauges that tell the present state; called before metrics are read.
    package func refreshGauges() async {
        let counts = index.counts
        for state in [SandboxState.running, .pausing, .paused, .resuming, .stopping, .failed] {
            Meter(label: "sandboxes", dimensions: [("state", state.rawValue)]).set(counts[state, default: 0])
        }
        await traffic.refresh()
        let report = await node.report()
        let pools = report.pools
        func set(_ kind: String, _ state: String, _ value: Int) {
            Meter(label: "pool_slots", dimensions: [("kind", kind), ("state", state)]).set(value)
        }
        set("shell", "ready", pools.map(\.shells).reduce(0, +))
        set("shell", "target", pools.map(\.targetShells).reduce(0, +))
        set("warm", "ready", pools.map(\.warm).reduce(0, +))
        set("warm", "target", pools.map(\.targetWarm).reduce(0, +))
        let network = report.network
        let free = max(0, network.capacity - network.used - network.ready)
        for (state, slots) in [("used", network.used), ("ready", network.ready), ("free", free)] {
            Meter(label: "martlet_network_slots", dimensions: [("state", state)]).set(slots)
        }
    }
}

extension HostResource.Engine {
    fileprivate init(_ engine: NodeEngine) {
        self.init(
            name: engine.name, available: engine.isAvailable, version: engine.version,
            accelerator: engine.isolation?.accelerator, reason: engine.reason, level: engine.isolation?.level,
            capabilities: engine.capabilities.sorted())
    }
}

extension HostResource.Pool {
    fileprivate init(_ pool: PoolReport) {
        self.init(
            template: pool.template, cpus: pool.shape.cpus, memoryMiB: pool.shape.memoryMiB, engine: pool.engine,
            shells: pool.shells, warm: pool.warm, targetShells: pool.targetShells, targetWarm: pool.targetWarm)
    }
}
