import MartletAPI
import Metrics
import Node
import SandboxModel

/// What this machine runs sandboxes with.
package struct Host: Sendable {
    let node: any NodeService
    let index: SandboxIndex
    let version: String

    /// Engines, the accelerator and why, capacity, pools.
    package func report() async -> HostResource {
        let report = await node.report()
        return HostResource(
            version: version, kernel: report.kernel, cpus: report.cpus, memoryBytes: report.memoryBytes,
            memoryAvailableBytes: report.memoryAvailableBytes, diskAvailableBytes: report.diskAvailableBytes,
            sandboxes: report.sandboxes, maxSandboxes: report.maxSandboxes,
            engines: report.engines.map(HostResource.Engine.init), pools: report.pools.map(HostResource.Pool.init))
    }

    /// Whether sandboxes can be made: some engine works.
    package func isReady() async -> Bool { await node.report().engines.contains(where: \.isAvailable) }

    /// Sets the gauges that tell the present state; called before metrics are read.
    package func refreshGauges() async {
        let counts = index.counts
        for state in [SandboxState.running, .pausing, .paused, .resuming, .stopping, .failed] {
            Meter(label: "sandboxes", dimensions: [("state", state.rawValue)]).set(counts[state, default: 0])
        }
        let pools = await node.report().pools
        func set(_ kind: String, _ state: String, _ value: Int) {
            Meter(label: "pool_slots", dimensions: [("kind", kind), ("state", state)]).set(value)
        }
        set("shell", "ready", pools.map(\.shells).reduce(0, +))
        set("shell", "target", pools.map(\.targetShells).reduce(0, +))
        set("warm", "ready", pools.map(\.warm).reduce(0, +))
        set("warm", "target", pools.map(\.targetWarm).reduce(0, +))
    }
}

extension HostResource.Engine {
    fileprivate init(_ engine: NodeEngine) {
        self.init(
            name: engine.name, available: engine.isAvailable, version: engine.version,
            accelerator: engine.isolation?.accelerator, reason: engine.reason, level: engine.isolation?.level)
    }
}

extension HostResource.Pool {
    fileprivate init(_ pool: PoolReport) {
        self.init(
            template: pool.template, cpus: pool.shape.cpus, memoryMiB: pool.shape.memoryMiB, shells: pool.shells,
            warm: pool.warm, targetShells: pool.targetShells, targetWarm: pool.targetWarm)
    }
}
