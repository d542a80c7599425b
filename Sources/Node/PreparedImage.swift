import SandboxEngine
import SandboxModel

/// A template at one size for one engine, captured where the engine can, and ready to be made machines of.
struct PreparedImage: Sendable {
    /// What makes two creates alike: they share captures and pools.
    struct Key: Sendable, Hashable {
        var template: String
        var shape: MachineShape
        /// The engine's name.
        var engine: String
    }

    var key: Key
    var engine: any SandboxEngine
    var image: MachineImage
    /// The template's own disk size; a larger disk is not kept ready.
    var diskMiB: Int
    var origin: SandboxOrigin
    /// Programs run in a machine that is kept ready.
    var rehearsal: [[String]]
}
