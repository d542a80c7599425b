import SandboxModel

/// A built template: everything a cold boot needs.
package struct TemplateImage: Sendable {
    /// Hex address over all parts (root disk, kernel, initramfs with our agent) and what is run before the capture.
    package var id: String
    package var name: String
    package var definition: TemplateDefinition
    /// Raw ext4 image, mode 0444.
    package var rootDisk: String
    /// The kernel image (bzImage).
    package var kernel: String
    /// Uncompressed cpio archive with the guest agent as `/init`.
    package var initramfs: String
    /// For example `6.1.0-40-cloud-amd64`.
    package var kernelVersion: String
    package var builtAt: Timestamp
    /// Whether it was built out of another one: its disk was written by a guest, and may be anything.
    package var isDerived: Bool
}

/// What the store knows about a template, for lists and `doctor`.
package struct TemplateStatus: Sendable, Hashable {
    package enum State: String, Sendable, Codable, CaseIterable {
        /// Never built, or removed.
        case absent
        /// Being built by some process on this machine.
        case building
        case ready
        /// A file is missing or has the wrong size; it is never used.
        case corrupt
        /// Usable, but its definition has changed since it was built.
        case stale
    }

    package var name: String
    package var description: String
    package var state: State
    /// Why the state is what it is, where that is not obvious.
    package var problem: String?
    package var id: String?
    /// Bytes the parts take on the disk.
    package var sizeBytes: Int64
    package var builtAt: Timestamp?
    /// Memory captures on hand.
    package var captures: Int
    /// What the template's file says; nil where it cannot be read.
    package var definition: TemplateDefinition?
    package var kernelVersion: String?
    /// Of a template that was built out of another one.
    package var derivation: TemplateDerivation?
}

/// One step forward of a template build.
package struct BuildProgress: Sendable, Hashable {
    /// Name of the stage, for example `root file system`.
    package var stage: String
    /// Number of the stage, from 1.
    package var index: Int
    /// How many stages there are.
    package var count: Int
    package var message: String
    /// How much of the stage is done, where that can be told.
    package var fraction: Double?
    /// Since the start of the build.
    package var elapsedMilliseconds: Double
}
