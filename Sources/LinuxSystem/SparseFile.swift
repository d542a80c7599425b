import CLinux
import Glibc

/// Files with holes.
public enum SparseFile {
    /// `SEEK_DATA` and `SEEK_HOLE` of the kernel's headers, which the Glibc module does not export.
    public static let seekData: Int32 = 3
    private static let seekHole: Int32 = 4

    /// Copies a file with its holes to a new one; nothing is flushed.
    ///
    /// - Returns: the copy, open for reading and writing.
    public static func copy(_ source: String, to target: String, mode: UInt32 = 0o600) throws(SystemError) -> Descriptor
    {
        try copy(from: try Descriptor.open(source, O_RDONLY), to: target, mode: mode)
    }

    /// Copies an open file in the same way.
    public static func copy(
        from: Descriptor, to target: String, mode: UInt32 = 0o600
    ) throws(SystemError) -> Descriptor {
        let to = try Descriptor.open(target, O_RDWR | O_CREAT | O_EXCL, mode: mode)
        let size = lseek(from.number, 0, SEEK_END)
        guard ftruncate(to.number, size) == 0 else { throw SystemError("truncate", target, errno: errno) }
        var offset = 0
        while offset < size {
            let data = lseek(from.number, offset, seekData)
            if data < 0 { break }
            let hole = lseek(from.number, data, seekHole)
            var position = data
            lseek(from.number, data, SEEK_SET)
            lseek(to.number, data, SEEK_SET)
            while position < hole {
                let count = clinux_copy_file_range(from.number, to.number, hole - position)
                if try SystemError.check(count, "copy", target) == 0 { break }
                position += Int(count)
            }
            offset = hole
        }
        return to
    }
}
