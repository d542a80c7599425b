import FoundationEssentials
import LinuxSystem

/// What is written down about a machine's process so that a later daemon finds it again.
struct MachineRecord: Codable, Sendable {
    static let fileName = "machine.json"

    var engine: String
    var process: ProcessHandle.Identity
    var image: String
    /// Who it runs as in its jail; nil for one that has none.
    var user: UInt32?
    /// The file its memory was mapped from, which later daemons may know by another name or have a copy of; nil for one
    /// that was started by a daemon from before this was written down.
    var memory: ProcessMemory.File?

    func write(in directory: String) throws {
        // A daemon's sudden end leaves the page cache in place, and after a power cut the process is gone with it:
        // nothing would be won by waiting for the disk.
        try AtomicFile.write(
            Array(JSONEncoder().encode(self)), to: "\(directory)/\(MachineRecord.fileName)", durable: false)
    }

    static func read(in directory: String) throws -> MachineRecord {
        try JSONDecoder().decode(
            MachineRecord.self, from: Data(AtomicFile.read("\(directory)/\(MachineRecord.fileName)")))
    }
}
