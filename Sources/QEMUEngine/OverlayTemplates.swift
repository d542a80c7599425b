import CLinux
import Glibc
import LinuxSystem
import SandboxEngine
import SandboxModel
import Subprocess
import SystemPackage

/// Empty qcow2 layers, one for each size of disk, made by qemu-img once and copied for every layer: the copy is a fifth
/// of a millisecond, the tool 20.
actor OverlayTemplates {
    private let directory: String
    private var ready: Set<String> = []

    init(directory: String) { self.directory = directory }

    /// The path of an empty layer for a disk of so many bytes. Its header names no backing file: who opens it says.
    func path(bytes: UInt64) async throws -> String {
        let path = "\(directory)/empty-\(bytes).qcow2"
        if ready.contains(path), access(path, F_OK) == 0 { return path }
        mkdir(directory, 0o700)
        let aside = "\(path).\(getpid()).\(UInt32.random(in: 0 ... .max))"
        try await createEmptyLayer(at: aside, bytes: bytes)
        try SystemError.check(clinux_rename(aside, path), "rename", path)
        ready.insert(path)
        return path
    }
}

/// Makes an empty qcow2 file.
func createEmptyLayer(at path: String, bytes: UInt64) async throws {
    let result = try await run(
        .name("qemu-img"),
        arguments: [
            "create", "-q", "-f", "qcow2", "-o", "lazy_refcounts=on,extended_l2=off", path, "\(bytes)",
        ], output: .discarded, error: .string(limit: 65_536))
    guard result.terminationStatus.isSuccess else {
        unlink(path)
        throw DiskConversion.failure(result.standardError)
    }
}

/// Copies a small file whole; throws `resource_exhausted` when the disk is full.
func copySmallFile(_ source: String, to destination: String) throws {
    do {
        let bytes = try AtomicFile.read(source)
        try Descriptor.open(destination, O_WRONLY | O_CREAT | O_EXCL).writeAll(bytes)
    } catch {
        guard error.errno == ENOSPC || error.errno == EDQUOT else { throw error }
        throw MartletError(.resourceExhausted, "create: the data disk is full: free some space on it and try again")
    }
}
