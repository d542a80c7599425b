import FoundationEssentials
import LinuxSystem
import SandboxEngine
import SandboxModel

/// What is written down about a sandbox: in its machine's directory, without which a machine is reclaimed, and in each
/// capture of it.
struct SandboxFile: Codable, Sendable {
    static let name = "sandbox.json"

    var id: String
    var template: String
    var isolation: Isolation
    var shape: MachineShape
    var diskMiB: Int
    var report: CreateReport
    /// Counted up whenever the sandbox goes on in another machine: of two that a crash has left, the later one counts.
    var generation: Int
    var hostname: String
    /// `NAME=value` pairs its programs are started with beyond the template's; never part of a snapshot.
    var environment: [String]
    var origin: SandboxOrigin
    /// The base its machine stands on.
    var base: MachineImage
    /// The slot of its machine; nil where it has no network card, and in captures.
    var slot: Int?
    /// What it may reach; never its secrets. nil where it has no network card.
    var policy: NetworkPolicy?

    /// What its programs are started with whatever its network is.
    var givenEnvironment: [String] { origin.environment + environment }

    /// The sandbox as others know it.
    ///
    /// - Returns: nil when the id is none.
    func sandbox(isAdopted: Bool, state: SandboxState, address: IPv4Address? = nil) -> NodeSandbox? {
        SandboxID(rawValue: id).map {
            NodeSandbox(
                id: $0, template: template, isolation: isolation, shape: shape, diskMiB: diskMiB, report: report,
                isAdopted: isAdopted, state: state, networkAddress: address)
        }
    }

    func write(in directory: String) throws {
        // Not flushed: it only serves to find a process that would not outlive a power cut either.
        try AtomicFile.write(Array(JSONEncoder().encode(self)), to: "\(directory)/\(SandboxFile.name)", durable: false)
    }

    static func read(in directory: String) throws -> SandboxFile {
        try JSONDecoder().decode(SandboxFile.self, from: Data(AtomicFile.read("\(directory)/\(SandboxFile.name)")))
    }
}
