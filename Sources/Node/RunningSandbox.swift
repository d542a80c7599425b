import SandboxEngine

/// A sandbox, its machine, and where the machine lives.
struct RunningSandbox: Sendable {
    var info: NodeSandbox
    var machine: any Machine
    var directory: String
    /// The capture it was restored from: not to be removed while it runs.
    var imageDigest: String
}

/// A machine that belongs to no sandbox yet.
struct SpareMachine: Sendable {
    var machine: any Machine
    var directory: String
    var imageDigest: String
}
