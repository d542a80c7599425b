import FoundationEssentials
import LinuxSystem
import MartletClient

/// What a running daemon says about itself to the programs of its user.
struct DaemonFile: Codable, Sendable {
    var pid: Int32
    var url: String
    var version: String

    /// The file of the daemon that runs now; nil when none does.
    static func read(_ data: DataDirectory) -> DaemonFile? {
        guard let bytes = try? AtomicFile.read(data.daemonFile, limit: 65_536) else { return nil }
        return try? JSONDecoder().decode(DaemonFile.self, from: Data(bytes))
    }

    func write(_ data: DataDirectory) throws {
        try AtomicFile.write(Array(JSONEncoder().encode(self)), to: data.daemonFile, durable: false)
    }
}
