import FoundationEssentials
import LinuxSystem

/// What is written down of a process, for a later daemon to find it by.
struct FirecrackerRecord: Codable, Equatable {
    var process: ProcessHandle.Identity
    var user: UInt32
    var id: String
    /// Digest of the image it is of.
    var image: String
    /// Where its root is.
    var root: String
    /// The host's end of its card, by its name in the process's network namespace.
    var tap: String?

    static let fileName = "firecracker.json"

    func write(in directory: String) throws {
        try AtomicFile.write(Array(JSONEncoder().encode(self)), to: "\(directory)/\(FirecrackerRecord.fileName)")
    }

    static func read(in directory: String) throws -> FirecrackerRecord {
        let bytes = try AtomicFile.read("\(directory)/\(fileName)", limit: 65_536)
        return try JSONDecoder().decode(FirecrackerRecord.self, from: Data(bytes))
    }
}
