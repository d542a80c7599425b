import SandboxEngine
import SandboxModel

/// What a sandbox was made from, as far as it matters after its machine has ended: to restore a capture of it, or to
/// boot its disk.
struct SandboxOrigin: Sendable, Codable {
    /// What restores a capture of it.
    var compatibility: MachineCompatibility
    /// Paths of what boots its disk.
    var kernel: String
    var initramfs: String
    var kernelVersion: String
    /// `NAME=value` pairs its template gives every program.
    var environment: [String]
    /// Who its programs run as that do not ask otherwise.
    var user: String
    /// The content address of its template.
    var templateID: String
    /// What runs in it from its boot on; nil in what older daemons have written: nothing.
    var services: [TemplateService]?
}
