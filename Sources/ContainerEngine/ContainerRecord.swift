import FoundationEssentials
import LinuxSystem

/// What is written down about a container so that a later daemon finds it again.
struct ContainerRecord: Codable, Sendable {
    static let fileName = "container.json"

    var engine: String
    /// The process that waits for the container's end, in its slot's network namespace.
    var process: ProcessHandle.Identity
    /// The template it stands on.
    var image: String
    /// Its users on the host; nil where they are the host's own.
    var users: UserRange?
    var channel: ContainerChannel

    func write(in directory: String) throws {
        // Not flushed: after a power cut there is no process to be found.
        try AtomicFile.write(
            Array(JSONEncoder().encode(self)), to: "\(directory)/\(ContainerRecord.fileName)", durable: false)
    }

    static func read(in directory: String) throws -> ContainerRecord {
        try JSONDecoder().decode(
            ContainerRecord.self, from: Data(AtomicFile.read("\(directory)/\(ContainerRecord.fileName)", limit: 65_536))
        )
    }
}
