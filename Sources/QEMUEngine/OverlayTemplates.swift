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
    try await makeDisk(
        at: path, ["create", "-q", "-f", "qcow2", "-o", "lazy_refcounts=on,extended_l2=off", path, "\(bytes)"])
}

/// Writes a disk of several files into one raw file.
///
/// Every file is said, so that what a header says of its backing never counts. Cancelling stops it.
func flattenDisk(_ files: [String], to path: String) async throws {
    try await makeDisk(at: path, ["convert", "-q", "-O", "raw", "json:\(BlockNode.disk(files))", path])
}

private func makeDisk(at path: String, _ arguments: [String]) async throws {
    let result = try await run(
        .name("qemu-img"), arguments: Arguments(arguments), output: .discarded, error: .string(limit: 65_536))
    guard result.terminationStatus.isSuccess else {
        unlink(path)
        let why = result.standardError.trimmingWhitespace()
        throw MartletError(
            why.contains("No space left") ? .resourceExhausted : .internal, "qemu-img: make a disk: \(why)")
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

extension String {
    fileprivate func trimmingWhitespace() -> String {
        var view = self[...]
        while view.first?.isWhitespace == true { view.removeFirst() }
        while view.last?.isWhitespace == true { view.removeLast() }
        return String(view)
    }
}
