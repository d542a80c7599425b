import Glibc
import LinuxSystem

/// Reads a directory's entries one after another, `.` and `..` left out.
final class DirectoryReader {
    private let stream: OpaquePointer
    /// The entry last read, as the kernel has it; valid until the next one is read.
    private(set) var entryName: UnsafePointer<CChar>?
    /// Whether the entry last read is known to be a directory; false where the file system does not say.
    private(set) var entryIsDirectory = false
    /// Whether the file system told the entry's kind.
    private(set) var entryKindIsKnown = false

    convenience init?(path: String) {
        guard let directory = try? Descriptor.open(path, O_RDONLY | O_DIRECTORY) else { return nil }
        self.init(directory)
    }

    /// Takes over an open directory.
    init?(_ directory: Descriptor) {
        let number = directory.release()
        guard let stream = fdopendir(number) else {
            Glibc.close(number)
            return nil
        }
        self.stream = stream
    }

    deinit { closedir(stream) }

    var descriptor: Int32 { dirfd(stream) }

    /// Moves to the next entry; false at the end.
    func advance() -> Bool {
        while let entry = readdir(stream) {
            // SAFETY: d_name is the last field and NUL-terminated; it lives in the stream's buffer until the next read.
            let offset = MemoryLayout<dirent>.offset(of: \dirent.d_name) ?? 0
            let name = UnsafeRawPointer(entry).advanced(by: offset).assumingMemoryBound(to: CChar.self)
            if name[0] == 46, name[1] == 0 || (name[1] == 46 && name[2] == 0) { continue }
            entryName = name
            entryIsDirectory = Int32(entry.pointee.d_type) == Int32(DT_DIR)
            entryKindIsKnown = Int32(entry.pointee.d_type) != Int32(DT_UNKNOWN)
            return true
        }
        entryName = nil
        return false
    }

    /// The next entry's name; bytes that are not UTF-8 are replaced.
    func next() -> String? {
        guard advance(), let entryName else { return nil }
        return String(cString: entryName)
    }
}
