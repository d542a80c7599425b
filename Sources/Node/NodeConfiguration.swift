import SandboxModel

/// What the operator sets about one host.
package struct NodeConfiguration: Sendable {
    /// The node's own directory: machines and what engines keep for themselves.
    package var directory: String
    /// Sandboxes at once.
    package var maxSandboxes: Int
    package var pool: PoolConfiguration
    /// What `auto` means where the template has no preference.
    package var defaultIsolation = IsolationChoice.microVM
    /// Sandboxes with a weaker wall are not made; nil makes all.
    package var minimumIsolation: IsolationLevel?
    /// Whether an orderly shutdown ends the sandboxes; else they go on and the next daemon takes them over.
    package var stopsSandboxesOnShutdown: Bool

    package init(
        directory: String, maxSandboxes: Int = 256, pool: PoolConfiguration = PoolConfiguration(),
        stopsSandboxesOnShutdown: Bool = false
    ) {
        self.directory = directory
        self.maxSandboxes = maxSandboxes
        self.pool = pool
        self.stopsSandboxesOnShutdown = stopsSandboxesOnShutdown
    }
}

/// What is kept ready ahead of demand for every hot (template, cpus, memory).
package struct PoolConfiguration: Sendable {
    /// One setting to switch all of it off.
    package var isEnabled: Bool
    /// Processes on the image that are not machines yet.
    package var shells: Int
    /// Restored guests that have answered once and are stopped.
    package var warm: Int
    /// Host memory all of them may hold together, in MiB.
    package var memoryLimitMiB: Int
    /// For how long after a fork as many shells as it made children are kept ready.
    package var forkMemory: Duration = .seconds(60)
    /// Templates made ready when the daemon starts; others become hot with their first create.
    package var hotTemplates: [String]

    /// What a ready machine costs in MiB, as measured (see SPECIFICATION.md), for keeping to the limit. A warm guest of
    /// another template than `base` may hold more: that is found out with the first one.
    static let shellCostMiB = 16
    static let warmCostMiB = 40

    package init(
        isEnabled: Bool = true, shells: Int = 1, warm: Int = 2, memoryLimitMiB: Int = 1024,
        hotTemplates: [String] = ["base"]
    ) {
        self.isEnabled = isEnabled
        self.shells = shells
        self.warm = warm
        self.memoryLimitMiB = memoryLimitMiB
        self.hotTemplates = hotTemplates
    }
}
