import CLinux
import Glibc
import LinuxSystem
import SandboxModel
import Subprocess
import SystemPackage

/// Takes the kernel out of its compressed image: Firecracker boots an ELF file only.
package enum KernelImage {
    /// How the kernel lies in its image.
    enum Compression: String, CaseIterable {
        case gzip, xz, zstd, lz4

        private static let magics: [(Compression, [UInt8])] = [
            (.gzip, [0x1f, 0x8b]), (.xz, [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]), (.zstd, [0x28, 0xb5, 0x2f, 0xfd]),
            // The legacy frame, which the kernel's build asks for.
            (.lz4, [0x02, 0x21, 0x4c, 0x18]),
        ]

        init?(magic bytes: some Collection<UInt8>) {
            guard let found = Compression.magics.first(where: { bytes.starts(with: $0.1) }) else { return nil }
            self = found.0
        }
    }

    /// The compressed kernel in an image.
    struct Payload: Equatable {
        var compression: Compression
        var range: Range<Int>
        /// Bytes of the kernel, as the image's build noted them.
        var size: Int
    }

    private static let largestImage = 256 << 20
    private static let largestKernel = 512 << 20

    /// Finds the kernel by the boot protocol's header (the kernel's Documentation/arch/x86/boot.rst).
    ///
    /// - Throws: `failed_precondition` for what is no such image.
    static func payload(of image: [UInt8], named name: String) throws(MartletError) -> Payload {
        func bad(_ why: String) -> MartletError {
            MartletError(.failedPrecondition, "unpack kernel: \(name): \(why)")
        }
        func number(_ offset: Int, _ count: Int) -> Int {
            (0..<count).reduce(0) { $0 | Int(image[offset + $1]) << (8 * $1) }
        }
        guard image.count >= 0x250, image[0x202..<0x206].elementsEqual(Array("HdrS".utf8)) else {
            throw bad("it is no Linux image")
        }
        guard number(0x206, 2) >= 0x208 else { throw bad("its boot protocol is older than 2.08") }
        let sectors = image[0x1f1] == 0 ? 4 : Int(image[0x1f1])
        let start = (sectors + 1) * 512 + number(0x248, 4)
        let length = number(0x24c, 4)
        guard length > 16, start + length <= image.count else { throw bad("its payload lies outside of it") }
        guard let compression = Compression(magic: image[start..<(start + length)].prefix(8)) else {
            throw bad("its payload is compressed in an unknown way")
        }
        // The size follows in the last four bytes: those of gzip's own format, of the kernel's build with the others.
        let size = number(start + length - 4, 4)
        guard size > 64, size <= largestKernel else { throw bad("its size makes no sense") }
        return Payload(
            compression: compression, range: start..<(start + length - (compression == .gzip ? 0 : 4)), size: size)
    }

    /// Writes the kernel of an image as an ELF file, which is whole or not there.
    ///
    /// - Throws: `failed_precondition` when the image is damaged or the tool for its compression is missing.
    package static func unpack(_ path: String, to target: String) async throws {
        let name = String(path.split(separator: "/").suffix(2).joined(separator: "/"))
        let image = try AtomicFile.read(path, limit: largestImage)
        let payload = try payload(of: image, named: name)
        let aside = "\(target).\(getpid()).new"
        let packed = "\(aside).packed"
        defer { for file in [aside, packed] { unlink(file) } }
        for file in [aside, packed] { unlink(file) }
        try AtomicFile.write(Array(image[payload.range]), to: packed, durable: false)
        let tool = payload.compression.rawValue
        guard let folder = ["/usr/bin", "/bin"].first(where: { access("\($0)/\(tool)", X_OK) == 0 }) else {
            throw MartletError(
                .failedPrecondition, "unpack kernel: \(name): \(tool) is not installed: apt-get install \(tool)")
        }
        let output = try Descriptor.open(aside, O_RDWR | O_CREAT | O_EXCL)
        let input = try Descriptor.open(packed, O_RDONLY)
        let outcome = try await run(
            .path(FilePath("\(folder)/\(tool)")), arguments: ["-d", "-c"],
            input: .fileDescriptor(FileDescriptor(rawValue: input.number), closeAfterSpawningProcess: false),
            output: .fileDescriptor(FileDescriptor(rawValue: output.number), closeAfterSpawningProcess: false),
            error: .string(limit: 4096))
        guard outcome.terminationStatus.isSuccess else {
            throw MartletError(
                .failedPrecondition,
                "unpack kernel: \(name): \(tool) failed: \(outcome.standardError.split(separator: "\n").last ?? "")")
        }
        try check(output, payload, name)
        guard fchmod(output.number, 0o444) == 0 else { throw SystemError("chmod", aside, errno: errno) }
        try output.synchronize()
        try SystemError.check(clinux_rename(aside, target), "rename", target)
        try AtomicFile.synchronizeDirectory(of: target)
    }

    /// A 64-bit ELF program for x86-64, of the size that was noted.
    private static func check(_ file: Descriptor, _ payload: Payload, _ name: String) throws {
        let head = try file.read(upTo: 20, at: 0)
        let isKernel =
            head.count == 20 && head.starts(with: [0x7f, 0x45, 0x4c, 0x46, 2, 1]) && head[18] == 62 && head[19] == 0
        guard isKernel else {
            throw MartletError(.failedPrecondition, "unpack kernel: \(name): what is in it is no kernel for x86-64")
        }
        let size = lseek(file.number, 0, SEEK_END)
        // What follows the ELF file proper (relocations) is counted too.
        guard size == payload.size else {
            throw MartletError(
                .failedPrecondition, "unpack kernel: \(name): \(size) bytes came out of it instead of \(payload.size)")
        }
    }
}
