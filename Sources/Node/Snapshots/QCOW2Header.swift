import Glibc
import LinuxSystem
import SandboxModel

/// The part of a disk layer's header that says where else its data is.
///
/// Layout: "QCOW2 image format" in QEMU's documentation (docs/interop/qcow2.rst).
enum QCOW2Header {
    private static let magic: [UInt8] = [0x51, 0x46, 0x49, 0xFB]
    private static let length = 104
    /// Bit 0: the reference counts are to be rebuilt. All others change the format, or name another file for the data.
    private static let allowedFeatures: UInt64 = 1

    /// Makes sure that a layer from elsewhere is only itself: no backing file, no external data, no encryption.
    ///
    /// - Throws: `invalid_argument`.
    static func check(_ path: String) throws {
        let head = try Descriptor.open(path, O_RDONLY | O_NOFOLLOW).read(upTo: length)
        guard head.count == length, head.starts(with: magic), number(head, 4, 4) == 3 else {
            throw refusal(path, "it is no disk layer of version 3")
        }
        guard number(head, 8, 8) == 0 else { throw refusal(path, "it names a backing file") }
        guard number(head, 32, 4) == 0 else { throw refusal(path, "it is encrypted") }
        guard number(head, 72, 8) & ~allowedFeatures == 0 else {
            throw refusal(path, "it needs features that layers do not have")
        }
    }

    private static func number(_ bytes: [UInt8], _ offset: Int, _ count: Int) -> UInt64 {
        (0..<count).reduce(0) { $0 << 8 | UInt64(bytes[offset + $1]) }
    }

    private static func refusal(_ path: String, _ why: String) -> MartletError {
        MartletError(
            .invalidArgument, "import: \(path.split(separator: "/").last ?? ""): \(why)", details: ["field": "body"])
    }
}
