import LinuxSystem
import Logging
import SandboxModel

extension ImageStore {
    /// The capture for a key, or nil if there is none.
    ///
    /// One that is not whole is moved aside and reported in the log; it counts as absent.
    package func capture(for key: CaptureKey) async throws -> Capture? {
        let directory = layout.part(.captures, key.digest)
        guard StoreFiles.exists(directory) else { return nil }
        do {
            let manifest = try await BlockingWork.run { try PartManifest.verified(in: directory) }
            StoreFiles.touch(directory + "/" + PartManifest.fileName)
            return Capture(key: key, directory: directory, manifest: manifest)
        } catch let error as CorruptFile {
            logger.warning(
                "capture is corrupt and was moved aside; it will be made again",
                metadata: ["template.id": "\(key.templateID)", "error": "\(error)"])
            try layout.moveAside(directory)
            return nil
        }
    }

    /// Makes a directory for the files of a new capture.
    ///
    /// What is neither committed nor discarded is collected after this process has ended.
    package func stageCapture() throws -> StagedCapture {
        StagedCapture(staging: try layout.stage())
    }

    /// Makes a staged capture durable, read-only and visible.
    ///
    /// If another process was faster, its capture is returned and this one is dropped.
    /// - Parameter details: free text for `doctor` and lists, kept in the manifest.
    /// - Throws: `internal` if a file is missing; the staged capture is still to be discarded then.
    package func commit(_ staged: StagedCapture, key: CaptureKey, details: [String: String]) async throws -> Capture {
        var details = details
        for (name, value) in partsByID[key.templateID] ?? [:] { details[name] = value }
        details["templateID"] = key.templateID
        details["engine"] = "\(key.engine) \(key.engineVersion)"
        details["shape"] = "\(key.cpus) cpus, \(key.memoryMiB) MiB"
        let (layout, staging, digest, all) = (layout, staged.staging, key.digest, details)
        try await BlockingWork.run {
            var files: [String: PartManifest.File] = [:]
            let disk = StagedCapture.disks.first { StoreFiles.exists("\(staging.path)/\($0)") }
            for name in StagedCapture.files + [disk ?? StagedCapture.disks[0]] {
                let path = staging.path + "/" + name
                guard let stamp = FileStamp(path: path) else {
                    throw MartletError(.internal, "commit capture: \(name): the engine did not write it")
                }
                if name == "memory" { try StoreFiles.digHoles(path) }
                try StoreFiles.setMode(path, 0o444)
                try StoreFiles.synchronize(path)
                let sum = name == "device-state" ? try Digest.hex(ofFile: path) : nil
                files[name] = .init(size: stamp.size, sha256: sum)
            }
            try PartManifest(kind: "capture", files: files, details: all)
                .seal(to: staging.path + "/" + PartManifest.fileName)
            try layout.publish(staging, as: .captures, digest)
        }
        let directory = layout.part(.captures, digest)
        let manifest = try await BlockingWork.run { try PartManifest.verified(in: directory) }
        return Capture(key: key, directory: directory, manifest: manifest)
    }

    /// Throws a staged capture away.
    package func discard(_ staged: StagedCapture) {
        staged.staging.remove()
    }
}
