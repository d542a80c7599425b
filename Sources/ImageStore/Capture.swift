import SandboxModel

/// What a capture belongs to; captures are interchangeable exactly when all of these are equal.
package struct CaptureKey: Sendable, Hashable {
    package var templateID: String
    package var cpus: Int
    package var memoryMiB: Int
    /// Engine and accelerator, for example `qemu-tcg`.
    package var engine: String
    package var engineVersion: String
    /// Digest over everything that decides the machine's devices; a state loads only into the same machine.
    package var machineArgumentsDigest: String

    package init(
        templateID: String, cpus: Int, memoryMiB: Int, engine: String, engineVersion: String,
        machineArgumentsDigest: String
    ) {
        self.templateID = templateID
        self.cpus = cpus
        self.memoryMiB = memoryMiB
        self.engine = engine
        self.engineVersion = engineVersion
        self.machineArgumentsDigest = machineArgumentsDigest
    }

    /// Hex digest over all fields: the name of the capture's directory.
    package var digest: String {
        Digest.hex(of: [
            "capture-1", templateID, "\(cpus)", "\(memoryMiB)", engine, engineVersion, machineArgumentsDigest,
        ])
    }
}

/// A guest frozen on storage: every file is read-only and complete.
package struct Capture: Sendable {
    package var key: CaptureKey
    package var directory: String
    /// The guest's memory image.
    package var memory: String
    /// The device state.
    package var deviceState: String
    /// The disk at the instant of the capture, in the format of its engine: what was written to it (`disk.qcow2`), or all
    /// of it (`disk.raw`).
    package var disk: String
    package var manifest: PartManifest

    init(key: CaptureKey, directory: String, manifest: PartManifest) {
        self.key = key
        self.directory = directory
        self.manifest = manifest
        memory = directory + "/memory"
        deviceState = directory + "/device-state"
        disk = directory + "/" + (StagedCapture.disks.first { manifest.files[$0] != nil } ?? StagedCapture.disks[0])
    }
}

/// A directory in which an engine writes the files of a capture; invisible to others until committed.
package struct StagedCapture: Sendable {
    /// The files an engine has to leave here before the commit, beside one of `disks`.
    package static let files = ["memory", "device-state"]
    /// Names of a disk, by its format.
    package static let disks = ["disk.qcow2", "disk.raw"]

    let staging: StagingDirectory
    /// Where to write `memory`, `device-state` and the disk. The directory moves at the commit,
    /// so files in it refer to each other by bare name.
    package var directory: String { staging.path }
}
