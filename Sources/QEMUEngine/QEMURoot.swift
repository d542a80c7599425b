import Crypto
import FoundationEssentials
import Glibc
import LinuxSystem
import NIOPosix
import SandboxModel
import Subprocess
import SystemPackage

/// The root directory of jailed QEMU processes: copies of the program, of the libraries it loads and of the firmware it
/// needs, and empty places for what each machine has of its own. Nothing in it is ever written; all machines share it.
///
/// Copies, so that an upgrade of the host's packages does not change what a running machine stands on.
struct QEMURoot: Sendable {
    let path: String

    /// Where things are in a jail.
    enum Place {
        static let memory = "/base/memory"
        static let kernel = "/base/kernel"
        static let initramfs = "/base/initramfs"
        static let maxDisks = 16
        static func disk(_ index: Int) -> String { "/base/disk-\(index)" }

        static var all: [String] { [memory, kernel, initramfs] + (0..<maxDisks).map(disk) }
    }

    /// What a microVM is started with, of all the firmware there is.
    private static let firmware = [
        "bios-microvm.bin", "qboot.rom", "linuxboot.bin", "linuxboot_dma.bin", "pvh.bin", "kvmvapic.bin",
    ]
    private static let firmwareDirectories = ["/usr/share/qemu", "/usr/share/seabios"]

    /// Finds the root for a program, or makes it.
    ///
    /// - Parameter removesOthers: whether what else there is of roots, whole or half-made, is from before.
    /// - Throws: `failed_precondition` when the program's libraries cannot be found.
    static func make(for program: String, in directory: String, removesOthers: Bool) async throws -> QEMURoot {
        let libraries = try await libraries(of: program)
        return try await NIOThreadPool.singleton.runIfActive {
            var files = [program] + libraries
            for name in firmware {
                let places: [String] = firmwareDirectories.map { "\($0)/\(name)" }
                if let found = places.first(where: { access($0, R_OK) == 0 }) { files.append(found) }
            }
            let root = QEMURoot(path: "\(directory)/root-\(try digest(of: files))")
            if removesOthers { root.removeOthers(in: directory) }
            try root.make(of: files)
            return root
        }
    }

    /// What the dynamic loader would load, the loader itself included; paths as the loader looks for them.
    private static func libraries(of program: String) async throws -> [String] {
        let output: String
        do {
            output =
                try await run(
                    .path(FilePath("/usr/bin/ldd")), arguments: [program], output: .string(limit: 1 << 20),
                    error: .discarded
                ).standardOutput
        } catch {
            throw MartletError(.failedPrecondition, "qemu: the libraries of \(program) cannot be found: \(error)")
        }
        // `libz.so.1 => /lib/x86_64-linux-gnu/libz.so.1 (0x…)`, or the loader's path alone.
        var paths: [String] = []
        for line in output.split(separator: "\n") {
            let words = line.split(whereSeparator: { $0 == " " || $0 == "\t" })
            if let path = words.first(where: { $0.hasPrefix("/") }) { paths.append(String(path)) }
            if line.contains("not found") {
                throw MartletError(.failedPrecondition, "qemu: \(program) lacks a library: \(line)")
            }
        }
        return paths
    }

    /// Changes when any of the files does.
    private static func digest(of files: [String]) throws(SystemError) -> String {
        var hash = SHA256()
        for file in files.sorted() {
            var info = stat()
            guard stat(file, &info) == 0 else { throw SystemError("stat", file, errno: errno) }
            hash.update(data: Data("\(file)\u{0}\(info.st_size)\u{0}\(info.st_mtim.tv_sec)\u{0}".utf8))
        }
        return hash.finalize().prefix(8).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    private func make(of files: [String]) throws {
        if access(path, F_OK) == 0 { return }
        let manager = FileManager.default
        let aside = "\(path).\(getpid()).\(UInt32.random(in: 0 ... .max))"
        defer { removeTree(aside) }
        for file in files {
            try makeFolder(aside + file.prefix(upTo: file.lastIndex(of: "/") ?? file.startIndex))
            try copy(file, to: aside + file)
        }
        for folder in [MachineFiles.place, "/base", "/dev"] { try makeFolder(aside + folder) }
        for place in Place.all + ["/dev/null", "/dev/urandom", "/dev/kvm"] {
            try Descriptor.open(aside + place, O_WRONLY | O_CREAT | O_EXCL).close()
        }
        chmod(aside, 0o755)
        do {
            try manager.moveItem(atPath: aside, toPath: path)
        } catch {
            // Another one was quicker, with the same files.
            guard access(path, F_OK) == 0 else { throw error }
        }
    }

    private func makeFolder(_ folder: String) throws {
        try FileManager.default.createDirectory(
            atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o755])
    }

    private func copy(_ source: String, to target: String) throws(SystemError) {
        // Two names in the loader's list may lead to one file.
        if access(target, F_OK) == 0 { return }
        let to = try SparseFile.copy(source, to: target)
        guard fchmod(to.number, 0o555) == 0 else { throw SystemError("chmod", target, errno: errno) }
    }

    /// Removes roots of earlier versions. Machines that still run in one keep it for as long as they do: it is their mount.
    private func removeOthers(in directory: String) {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
        for name in names where name.hasPrefix("root-") && "\(directory)/\(name)" != path {
            removeTree("\(directory)/\(name)")
        }
    }
}
