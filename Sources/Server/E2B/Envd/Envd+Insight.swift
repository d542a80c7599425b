import ControlPlane
import E2BProtocol
import GuestClient
import Hummingbird
import MartletAPI
import NIOCore
import SandboxModel

/// Plain routes of E2B's daemon that no method of its SDK uses, but programs do.
extension Envd {
    private static let maxSources = 1000

    /// Makes one file of several, which are gone then.
    func compose(_ call: EnvdCall) async throws -> Response {
        let request = try await call.plainMessage(ComposeRequest.self)
        guard !request.sourcePaths.isEmpty else { throw MartletError.invalid("source_paths", "must not be empty") }
        guard request.sourcePaths.count <= Envd.maxSources else {
            throw MartletError.invalid("source_paths", "holds more than \(Envd.maxSources)")
        }
        guard !request.destination.isEmpty else { throw MartletError.invalid("destination", "is required") }
        let user = request.username ?? call.defaultUser
        let target = try await resolve(request.destination, user: user, call)
        var sources: [String] = []
        for source in request.sourcePaths {
            let path = try await resolve(source, user: user, call)
            guard path != target else {
                throw MartletError(.invalidArgument, "source path '\(path)' cannot be the same as destination")
            }
            let found = try await followed(path, call)
            guard let found else { throw MartletError(.notFound, "source file not found: \(path)") }
            guard found.file.type == "file" else {
                throw MartletError(.invalidArgument, "source path is not a regular file: \(path)")
            }
            sources.append(path)
        }
        let writer = try await files.write(call.id, path: target, mode: nil, owner: user, caller: call.caller)
        for source in sources {
            let reader = try await files.read(call.id, path: source, offset: 0, length: nil, caller: call.caller)
            for try await piece in reader { try await writer.write(piece) }
        }
        _ = try await writer.finish()
        for source in Set(sources) {
            try await files.remove(call.id, path: source, recursive: false, caller: call.caller)
        }
        return try Envd.answer(WrittenFile(path: target))
    }

    /// What the sandbox uses, as E2B's daemon tells it.
    func metrics(_ call: EnvdCall) async throws -> Response {
        let metrics = try await sandboxes.metrics(call.id, caller: call.caller)
        let busy = Double(metrics.cpuUserMilliseconds &+ metrics.cpuSystemMilliseconds)
        let whole = busy + Double(metrics.cpuIdleMilliseconds)
        let free = min(metrics.memoryAvailableBytes, metrics.memoryTotalBytes)
        return try Envd.answer(
            EnvdMetrics(
                ts: Timestamp.now.milliseconds / 1000, cpuCount: call.sandbox.cpus,
                cpuUsedPct: whole > 0 ? (busy / whole * 10_000).rounded() / 100 : 0,
                memTotal: metrics.memoryTotalBytes, memUsed: metrics.memoryTotalBytes - free,
                diskUsed: metrics.diskUsedBytes, diskTotal: metrics.diskTotalBytes))
    }

    /// The variables that programs of the sandbox start with.
    func environment(_ call: EnvdCall) async throws -> Response {
        let outcome = try await processes.exec(
            call.id, ExecRequest(cmd: .arguments(["/usr/bin/env", "-0"]), user: call.defaultUser), caller: call.caller)
        var variables: [String: String] = [:]
        for pair in (outcome.stdout ?? "").split(separator: "\0") {
            guard let sign = pair.firstIndex(of: "=") else { continue }
            variables[String(pair[..<sign])] = String(pair[pair.index(after: sign)...])
        }
        return try Envd.answer(variables)
    }

    static func answer(_ value: some Encodable) throws -> Response {
        Response(
            status: .ok, headers: [.contentType: "application/json"],
            body: .init(byteBuffer: ByteBuffer(bytes: try ProtoJSON.encode(value))))
    }
}
