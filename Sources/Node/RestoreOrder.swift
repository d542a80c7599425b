import GuestProtocol
import SandboxEngine
import SandboxModel

/// A machine that is wanted: what it goes on from and what makes it its own.
struct RestoreOrder: Sendable {
    /// Whose machine it will be.
    var sandbox: SandboxID
    var image: MachineImage
    var engine: any SandboxEngine
    /// The template, when it goes on from a template's own capture: then a warm guest may serve.
    var template: PreparedImage?
    /// What it was made from, when it begins rather than goes on: an engine without captures starts its services.
    var origin: SandboxOrigin?
    /// What the disk is to grow to once it runs.
    var diskMiB: Int?
    var network: SandboxNetwork
    /// Makes the message at the last moment, for it has the time in it.
    var thaw: @Sendable () -> Thaw
}
