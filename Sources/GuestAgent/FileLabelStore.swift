import CLinux
import Glibc
import GuestProtocol
import LinuxSystem

/// Labels of files, kept as extended attributes (xattr(7)), so that they move and are copied with them.
enum FileLabelStore {
    private static let prefix = "user.e2b."
    /// Bytes of all labels of one file; a file system has no more room for them either.
    private static let maxBytes = 8192

    /// Puts `name=value` pairs on a file that has none.
    ///
    /// - Returns: 0 or an error number.
    static func set(_ labels: [String], on file: Int32) -> Int32 {
        for label in labels {
            guard let sign = label.firstIndex(of: "="), sign > label.startIndex else { return EINVAL }
            let value = Array(label[label.index(after: sign)...].utf8)
            let result = clinux_set_attribute(file, prefix + label[..<sign], value, value.count)
            if result < 0 { return -result }
        }
        return 0
    }

    /// The labels of an entry of a directory, sorted; of what is no file or directory there are none.
    static func labels(in directory: Int32, _ name: UnsafePointer<CChar>, _ kind: FileKind) -> [String] {
        guard kind == .file || kind == .directory else { return [] }
        let opened = clinux_openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0)
        guard opened >= 0 else { return [] }
        let file = Descriptor(owning: opened)
        var pairs = [CChar](repeating: 0, count: maxBytes)
        let count = clinux_attributes(file.number, prefix, &pairs, pairs.count)
        guard count > 0 else { return [] }
        return pairs.prefix(Int(count)).split(separator: 0)
            .map { String(decoding: $0.map { UInt8(bitPattern: $0) }, as: UTF8.self) }.sorted()
    }
}
