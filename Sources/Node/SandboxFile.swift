import FoundationEssentials
import LinuxSystem
import SandboxEngine
import SandboxModel

/// What a machine's directory says about the sandbox it was handed out as; without it a machine is reclaimed.
struct SandboxFile: Codable, Sendable {
    static let name = "sandbox.json"

    var id: String
    var template: String
    var isolation: Isolation
    var shape: MachineShape
    var diskMiB: Int
    var report: CreateReport
    var imageDigest: String
    var memory: String
    var deviceState: String
    var disk: String

    init(_ sandbox: NodeSandbox, image: MachineImage) {
        id = sandbox.id.rawValue
        template = sandbox.template
        isolation = sandbox.isolation
        shape = sandbox.shape
        diskMiB = sandbox.diskMiB
        report = sandbox.report
        imageDigest = image.digest
        memory = image.memory
        deviceState = image.deviceState
        disk = image.disk
    }

    var image: MachineImage {
        MachineImage(digest: imageDigest, memory: memory, deviceState: deviceState, disk: disk, shape: shape)
    }

    func write(in directory: String) throws {
        // Not flushed: it only serves to find a process that would not outlive a power cut either.
        try AtomicFile.write(Array(JSONEncoder().encode(self)), to: "\(directory)/\(SandboxFile.name)", durable: false)
    }

    static func read(in directory: String) throws -> SandboxFile {
        try JSONDecoder().decode(SandboxFile.self, from: Data(AtomicFile.read("\(directory)/\(SandboxFile.name)")))
    }
}
