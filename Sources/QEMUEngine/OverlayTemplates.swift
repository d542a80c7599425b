import CLinux
import Glibc
import LinuxSystem
import SandboxEngine
import SandboxModel
import Subprocess
import SystemPackage

/// Empty qcow2 overlays, one for each capture, made by qemu-img once and copied for every machine: the
/// copy is a fifth of a millisecond, the tool 20.
actor OverlayTemplates {
    private let directory: String
    private var ready: Set<String> = []

    init(directory: String) { self.directory = directory }

    /// The path of an empty overlay over the image's disk.
    func path(for image: MachineImage) async throws -> String {
        let path = "\(directory)/\(image.digest).qcow2"
        if ready.contains(path), access(path, F_OK) == 0 { return path }
        mkdir(directory, 0o700)
        let aside = "\(path).\(getpid()).\(UInt32.random(in: 0 ... .max))"
        try await createOverlay(at: aside, backing: image.disk, backingFormat: "qcow2")
        try SystemError.check(clinux_rename(aside, path), "rename", path)
        ready.insert(path)
        return path
    }
}

/// Makes an empty qcow2 file over a backing one, of its size.
func createOverlay(at path: String, backing: String, backingFormat: String) async throws {
    let arguments = [
        "create", "-q", "-f", "qcow2", "-o", "lazy_refcounts=on,extended_l2=off", "-b", backing, "-F", backingFormat,
        path,
    ]
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
