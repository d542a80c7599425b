import FoundationEssentials
import LinuxSystem
import NIOCore
import SandboxModel

/// The API of one Firecracker process, over the unix socket it listens at.
///
/// It is not trusted: whoever breaks out of a guest answers here. Answers are bounded in bytes and time.
package struct FirecrackerAPI: Sendable {
    private let exchange: HTTPExchange
    private static let patience = Duration.seconds(10)
    /// Memory is written to the disk, or made room for.
    private static let snapshotPatience = Duration.seconds(120)

    /// - Parameters:
    ///   - directory: on the host; the socket in it is no link, or is refused.
    ///   - socket: its name there.
    package init(directory: String, socket: String, group: any EventLoopGroup) {
        exchange = HTTPExchange(directory: directory, socket: socket, group: group)
    }

    // MARK: What it is

    /// The version of the process.
    package func version() async throws -> String {
        struct Answer: Decodable { var firecrackerVersion: String }
        return try await get("/version", as: Answer.self).firecrackerVersion
    }

    /// Who it is, and whether a guest runs in it.
    package func instance() async throws -> FirecrackerInstance { try await get("/", as: FirecrackerInstance.self) }

    // MARK: Before the start

    package func configure(_ machine: FirecrackerRequest.MachineConfiguration) async throws {
        try await put("/machine-config", machine, "machine-config")
    }

    package func setBootSource(_ source: FirecrackerRequest.BootSource) async throws {
        try await put("/boot-source", source, "boot-source")
    }

    package func add(_ drive: FirecrackerRequest.Drive) async throws {
        let id = try FirecrackerAPI.checked(drive.driveId)
        try await put("/drives/\(id)", drive, "drive \(id)")
    }

    package func add(_ card: FirecrackerRequest.NetworkInterface) async throws {
        let id = try FirecrackerAPI.checked(card.ifaceId)
        try await put("/network-interfaces/\(id)", card, "network-interface \(id)")
    }

    package func setVsock(_ vsock: FirecrackerRequest.Vsock) async throws { try await put("/vsock", vsock, "vsock") }

    package func addEntropy() async throws { try await put("/entropy", FirecrackerRequest.Entropy(), "entropy") }

    package func setLogger(_ logger: FirecrackerRequest.Logger) async throws {
        try await put("/logger", logger, "logger")
    }

    // MARK: Life

    /// Boots the guest.
    package func start() async throws {
        try await put("/actions", FirecrackerRequest.Action(actionType: "InstanceStart"), "start")
    }

    package func pause() async throws {
        try await send("PATCH", "/vm", FirecrackerRequest.State(state: "Paused"), "pause")
    }

    package func resume() async throws {
        try await send("PATCH", "/vm", FirecrackerRequest.State(state: "Resumed"), "resume")
    }

    /// Has the guest look again at a drive whose file has grown.
    package func update(drive id: String, path: String) async throws {
        let id = try FirecrackerAPI.checked(id)
        try await send(
            "PATCH", "/drives/\(id)", FirecrackerRequest.DriveUpdate(driveId: id, pathOnHost: path), "drive \(id)")
    }

    /// Writes memory and devices of a paused guest.
    package func createSnapshot(_ request: FirecrackerRequest.CreateSnapshot) async throws {
        try await send("PUT", "/snapshot/create", request, "snapshot", FirecrackerAPI.snapshotPatience)
    }

    /// Makes a fresh process the guest that was captured.
    package func loadSnapshot(_ request: FirecrackerRequest.LoadSnapshot) async throws {
        try await send("PUT", "/snapshot/load", request, "load snapshot", FirecrackerAPI.snapshotPatience)
    }

    // MARK: How

    /// Ids become part of a path.
    private static func checked(_ id: String) throws(MartletError) -> String {
        guard !id.isEmpty, id.utf8.count <= 64,
            id.utf8.allSatisfy({ (48...57).contains($0) || (97...122).contains($0) || $0 == 95 })
        else { throw MartletError(.internal, "firecracker: '\(id)' is no id of a device") }
        return id
    }

    private func put(_ path: String, _ body: some Encodable, _ object: String) async throws {
        try await send("PUT", path, body, object)
    }

    private func send(
        _ method: String, _ path: String, _ body: some Encodable, _ object: String,
        _ timeout: Duration = FirecrackerAPI.patience
    ) async throws {
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        let bytes = Array(try encoder.encode(body))
        let answer = try await exchange.send(method, path, bytes, object: object, timeout: timeout)
        guard answer.status == 200 || answer.status == 204 else { throw FirecrackerAPI.fault(answer, object) }
    }

    private func get<Answer: Decodable>(_ path: String, as: Answer.Type) async throws -> Answer {
        let answer = try await exchange.send("GET", path, nil, object: path, timeout: FirecrackerAPI.patience)
        guard answer.status == 200 else { throw FirecrackerAPI.fault(answer, path) }
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        do {
            return try decoder.decode(Answer.self, from: Data(answer.body))
        } catch {
            throw MartletError(.internal, "firecracker: \(path): its answer cannot be read")
        }
    }

    /// What Firecracker refused, in its own words: those of an answer nobody can trust, so a piece of plain text only.
    static func fault(_ answer: HTTPExchange.Answer, _ object: String) -> MartletError {
        struct Fault: Decodable { var faultMessage: String }
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        let fault = try? decoder.decode(Fault.self, from: Data(answer.body))
        let text = (fault?.faultMessage ?? "status \(answer.status) without a reason")
            .unicodeScalars.filter { (32..<127).contains($0.value) }.prefix(500)
        let reason = String(String.UnicodeScalarView(text))
        return MartletError(
            (400..<500).contains(answer.status) ? .failedPrecondition : .internal, "firecracker: \(object): \(reason)",
            details: ["reason": "fault", "object": object, "status": "\(answer.status)"])
    }
}
