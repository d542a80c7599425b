import LinuxSystem
import SandboxModel

/// Makes the archive a guest boots from: our agent as `/init` and the kernel's modules.
///
/// It is a part of its own, so that a new agent needs no new root disk. Uncompressed: the guest's emulated processor
/// would unpack it slower than the host reads it.
struct InitramfsBuilder: Sendable {
    /// How the host will reach the guest.
    enum Channel: String, Sendable {
        /// By a virtio port.
        case port
        /// By vsock, which takes more modules.
        case vsock
    }

    let layout: StoreLayout
    /// The address of the kernel part.
    let kernel: String
    /// Path of the static agent binary.
    let agent: String
    /// Hex SHA-256 of the agent.
    let agentDigest: String
    var channel = Channel.port

    var digest: String {
        Digest.hex(of: ["initramfs-1", kernel, agentDigest] + (channel == .port ? [] : [channel.rawValue]))
    }
    private var directory: String { layout.part(.initramfs, digest) }

    /// Makes the archive unless it is there already; blocks the thread.
    ///
    /// - Returns: the path of the archive.
    func build() throws -> String {
        do {
            _ = try PartManifest.verified(in: directory)
            StoreFiles.touch(directory + "/" + PartManifest.fileName)
            return directory + "/initramfs.img"
        } catch is CorruptFile {
            if StoreFiles.exists(directory) { try layout.moveAside(directory) }
        }
        let staged = try layout.stage()
        do {
            let bytes = try archive()
            try AtomicFile.write(bytes, to: staged.path + "/initramfs.img", mode: 0o444)
            try PartManifest(
                kind: "initramfs", files: ["initramfs.img": .init(size: Int64(bytes.count), sha256: nil)],
                details: ["kernel": kernel, "agent": agentDigest]
            ).seal(to: staged.path + "/" + PartManifest.fileName)
            try layout.publish(staged, as: .initramfs, digest)
            return directory + "/initramfs.img"
        } catch {
            staged.remove()
            throw error
        }
    }

    private func archive() throws -> [UInt8] {
        let (modules, more) = (layout.part(.kernels, kernel) + "/modules", layout.part(.kernels, kernel) + "/vsock")
        let program = try AtomicFile.read(agent, limit: 256 << 20)
        // The agent may be replaced while we read: what was hashed must be what goes in.
        guard Digest.hex(of: program) == agentDigest else {
            throw MartletError(.unavailable, "read guest agent: \(agent): it was replaced while being read; try again")
        }
        var archive = CpioArchive()
        for name in ["dev", "proc", "sys", "run", "tmp", "newroot", "modules"] { archive.add(directory: name) }
        archive.add(characterDevice: "dev/console", major: 5, minor: 1, mode: 0o600)
        archive.add(characterDevice: "dev/null", major: 1, minor: 3, mode: 0o666)
        for name in StoreFiles.list(modules) where channel == .port || name != "order" {
            archive.add(file: "modules/" + name, try AtomicFile.read("\(modules)/\(name)"))
        }
        if channel == .vsock {
            for name in StoreFiles.list(more) where name != "order" {
                archive.add(file: "modules/" + name, try AtomicFile.read("\(more)/\(name)"))
            }
            let order = try AtomicFile.read(modules + "/order") + AtomicFile.read(more + "/order")
            archive.add(file: "modules/order", order)
        }
        archive.add(file: "init", program, mode: 0o755)
        return archive.finish()
    }
}
