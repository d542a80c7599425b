import SandboxModel

/// Bounds of the labels a client puts on a sandbox.
enum MetadataCheck {
    static let maxCount = 64
    static let maxKeyBytes = 64
    static let maxValueBytes = 1024

    /// - Throws: `invalid_argument` naming the label.
    static func checked(_ metadata: [String: String]) throws(MartletError) -> [String: String] {
        guard metadata.count <= maxCount else { throw .invalid("metadata", "holds more than \(maxCount) entries") }
        for (key, value) in metadata {
            guard (1...maxKeyBytes).contains(key.utf8.count), key.utf8.allSatisfy(isAllowed) else {
                throw .invalid(
                    "metadata", "'\(key.printable)' is no key: 1-\(maxKeyBytes) of letters, digits and . _ - /")
            }
            guard value.utf8.count <= maxValueBytes else {
                throw .invalid("metadata.\(key)", "is longer than \(maxValueBytes) bytes")
            }
            guard !value.unicodeScalars.contains(where: { $0.value < 32 || $0.value == 127 }) else {
                throw .invalid("metadata.\(key)", "holds a control character")
            }
        }
        return metadata
    }

    private static func isAllowed(_ byte: UInt8) -> Bool {
        byte.isLetter || byte.isDigit || ".-_/".utf8.contains(byte)
    }
}
