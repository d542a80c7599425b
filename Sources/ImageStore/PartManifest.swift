import LinuxSystem
import SandboxModel

/// What a finished part of the store consists of: written last, so that a part without it is not finished.
package struct PartManifest: Sealed, Equatable {
    /// One file of the part.
    package struct File: Sendable, Codable, Equatable {
        package var size: Int64
        /// Hex SHA-256, where the file is small enough to be checked at each use.
        package var sha256: String?
    }

    package static let currentFormat = "martlet-part/1"
    static let fileName = "manifest.json"

    package internal(set) var format = PartManifest.currentFormat
    /// `root`, `kernel`, `initramfs` or `capture`.
    package var kind: String
    package var createdAt: Timestamp
    package var files: [String: File]
    package var details: [String: String]
    package var checksum = ""

    init(kind: String, files: [String: File], details: [String: String]) {
        self.kind = kind
        createdAt = Timestamp(milliseconds: Clocks.realtimeMilliseconds)
        self.files = files
        self.details = details
    }

    /// Reads the manifest of a part and checks every file against it.
    ///
    /// - Throws: `CorruptFile` naming the first file that is not what the manifest says.
    static func verified(in directory: String) throws -> PartManifest {
        let manifest: PartManifest
        do {
            manifest = try unseal(directory + "/" + fileName)
        } catch let error as SystemError {
            throw CorruptFile(path: directory + "/" + fileName, why: "it cannot be read: \(error)")
        }
        for (name, file) in manifest.files.sorted(by: { $0.key < $1.key }) {
            let path = directory + "/" + name
            guard let stamp = FileStamp(path: path) else { throw CorruptFile(path: path, why: "it is missing") }
            guard stamp.size == file.size else {
                throw CorruptFile(path: path, why: "it has \(stamp.size) bytes instead of \(file.size)")
            }
            if let expected = file.sha256, try Digest.hex(ofFile: path) != expected {
                throw CorruptFile(path: path, why: "its contents have changed")
            }
        }
        return manifest
    }
}
