/// Writes the archive format of an initramfs ("newc" of the kernel's buffer-format document).
///
/// The same entries in the same order always give the same bytes: owner root, time zero, inode numbers in order.
package struct CpioArchive {
    package init() {}

    private var bytes: [UInt8] = []
    private var inode = 0

    /// File types of `st_mode`, which the format uses.
    private enum Kind: Int {
        case directory = 0o040000
        case file = 0o100000
        case characterDevice = 0o020000
    }

    /// Adds an empty directory.
    package mutating func add(directory path: String, mode: Int = 0o755) {
        add(path, .directory, mode, [], device: (0, 0))
    }

    /// Adds a regular file.
    package mutating func add(file path: String, _ contents: [UInt8], mode: Int = 0o644) {
        add(path, .file, mode, contents, device: (0, 0))
    }

    /// Adds a character device node.
    package mutating func add(characterDevice path: String, major: Int, minor: Int, mode: Int) {
        add(path, .characterDevice, mode, [], device: (major, minor))
    }

    /// Ends the archive; the result is padded to whole sectors.
    package mutating func finish() -> [UInt8] {
        inode = -1
        add("TRAILER!!!", nil, 0, [], device: (0, 0))
        pad(to: 512)
        return bytes
    }

    private mutating func add(_ path: String, _ kind: Kind?, _ mode: Int, _ contents: [UInt8], device: (Int, Int)) {
        inode += 1
        let name = Array(path.utf8) + [0]
        let fields = [
            inode, (kind?.rawValue ?? 0) | mode, 0, 0, kind == .directory ? 2 : 1, 0, contents.count, 0, 0, device.0,
            device.1, name.count, 0,
        ]
        bytes += Array("070701".utf8)
        for field in fields { bytes += Self.hex(field) }
        bytes += name
        pad(to: 4)
        bytes += contents
        pad(to: 4)
    }

    private mutating func pad(to multiple: Int) {
        bytes += [UInt8](repeating: 0, count: (multiple - bytes.count % multiple) % multiple)
    }

    private static func hex(_ value: Int) -> [UInt8] {
        let digits = Array("0123456789ABCDEF".utf8)
        return (0..<8).map { digits[(value >> (28 - 4 * $0)) & 15] }
    }
}
