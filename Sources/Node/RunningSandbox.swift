import SandboxEngine
import SandboxModel

/// A sandbox, its machine, and where the machine lives.
struct RunningSandbox: Sendable {
    var info: NodeSandbox
    var machine: any Machine
    var home: MachineHome
    var file: SandboxFile

    /// The base it stands on: not to be removed while it runs.
    var imageDigest: String { file.base.digest }
}

/// A sandbox that is only on storage.
struct PausedSandbox: Sendable {
    var info: NodeSandbox
    var capture: StoredCapture

    var imageDigest: String { capture.image.digest }
}

/// A machine that belongs to no sandbox yet.
struct SpareMachine: Sendable {
    var machine: any Machine
    var home: MachineHome
    var imageDigest: String
    /// Host memory it holds, in MiB, for keeping to the pool's limit.
    var costMiB = PoolConfiguration.shellCostMiB
}
