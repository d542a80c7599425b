import SandboxModel

/// What a snapshot is to be called and kept as.
package struct SnapshotSpec: Sendable {
    package var id: SnapshotID
    /// Not waited for: the capture is complete when the call returns, and is written out and sealed in the background.
    /// Until then it can be used like any other, but a sudden end of the daemon loses it.
    package var isSealedLater: Bool

    package init(id: SnapshotID, isSealedLater: Bool = false) {
        self.id = id
        self.isSealedLater = isSealedLater
    }
}

/// A snapshot as its node knows it.
package struct NodeSnapshot: Sendable {
    package var id: SnapshotID
    /// The sandbox it was taken of; of an imported one, the sandbox on the other machine.
    package var sandbox: SandboxID
    package var template: String
    package var isolation: Isolation
    package var shape: MachineShape
    package var diskMiB: Int
    package var report: CaptureReport

    package init(
        id: SnapshotID, sandbox: SandboxID, template: String, isolation: Isolation, shape: MachineShape, diskMiB: Int,
        report: CaptureReport
    ) {
        self.id = id
        self.sandbox = sandbox
        self.template = template
        self.isolation = isolation
        self.shape = shape
        self.diskMiB = diskMiB
        self.report = report
    }
}

/// What a resume starts from.
package enum ResumeSource: String, Sendable {
    /// Everything as it was.
    case memory
    /// Its disk only, booted afresh: the way out when a guest does not answer any more.
    case disk
}

/// What children go on from.
package enum ForkSource: Sendable {
    /// Running or paused.
    case sandbox(SandboxID)
    case snapshot(SnapshotID)
}

/// One child of a fork.
package struct ForkSpec: Sendable {
    package var id: SandboxID
    package var hostname: String
    /// `NAME=value` pairs for processes started from now on.
    package var environment: [String]
    /// Whether processes started from now on have the source's environment too. Those that run keep theirs in any
    /// case: it is in their memory.
    package var inheritsEnvironment: Bool
    /// Its own; nothing of the source's is inherited, its secrets least of all.
    package var network: SandboxNetwork

    package init(
        id: SandboxID, hostname: String, environment: [String] = [], inheritsEnvironment: Bool = false,
        network: SandboxNetwork = .closed
    ) {
        self.id = id
        self.hostname = hostname
        self.environment = environment
        self.inheritsEnvironment = inheritsEnvironment
        self.network = network
    }
}

/// What came of a fork.
package struct ForkOutcome: Sendable {
    /// Of the capture all children go on from.
    package var report: CaptureReport
    /// In the order they were asked for.
    package var children: [Result<NodeSandbox, MartletError>]

    package init(report: CaptureReport, children: [Result<NodeSandbox, MartletError>]) {
        self.report = report
        self.children = children
    }
}
