import ControlPlane
import HTTPTypes
import Hummingbird
import Logging
import MartletAPI
import NIOCore
import SandboxModel

/// Snapshots: found, deleted, forked, moved between machines.
struct SnapshotRoutes {
    private static let topic = "Snapshots"
    private static let one = "/v1/snapshots/{snapshot}"
    let snapshots: Snapshots

    var endpoints: [Endpoint] {
        let (topic, one) = (SnapshotRoutes.topic, SnapshotRoutes.one)
        return [
            Endpoint(.get, "/v1/snapshots", topic, "List snapshots, newest first.", handler: list),
            Endpoint(.post, "/v1/snapshots/import", topic, "Take in an exported snapshot.", handler: importing),
            Endpoint(.get, one, topic, "One snapshot, by id or name.", handler: get),
            Endpoint(.delete, one, topic, "Delete a snapshot.", handler: delete),
            Endpoint(.post, "\(one)/fork", topic, "Make sandboxes from a snapshot.", handler: fork),
            Endpoint(.get, "\(one)/export", topic, "A snapshot as one stream.", handler: export),
        ]
    }

    @Sendable private func list(_ call: APICall) async throws -> Response {
        let query = try call.query("sandbox", "name", "kind", "state", "limit", "cursor")
        let kind = try query["kind"].map { text throws(MartletError) in
            guard let kind = SnapshotKind(rawValue: text) else { throw .invalid("kind", "is no kind of a snapshot") }
            return kind
        }
        let state = try query["state"].map { text throws(MartletError) in
            guard let state = SnapshotState(rawValue: text) else {
                throw .invalid("state", "is no state of a snapshot")
            }
            return state
        }
        let filter = SnapshotFilter(
            sandbox: query["sandbox"], name: query["name"], kind: kind, state: state ?? .ready,
            limit: try query.number("limit", 100), cursor: query["cursor"])
        return try StrictJSON.response(try snapshots.list(filter, caller: call.caller))
    }

    @Sendable private func get(_ call: APICall) async throws -> Response {
        try StrictJSON.response(try snapshots.get(call.snapshot, caller: call.caller))
    }

    @Sendable private func delete(_ call: APICall) async throws -> Response {
        guard let kept = try await snapshots.delete(call.snapshot, caller: call.caller) else {
            return Response(status: .noContent)
        }
        return try StrictJSON.response(kept, status: .accepted)
    }

    @Sendable private func fork(_ call: APICall) async throws -> Response {
        let request = try await call.decode(ForkSnapshotRequest.self)
        let made = try await snapshots.fork(snapshot: call.snapshot, request, caller: call.caller)
        return try StrictJSON.response(made, status: .created)
    }

    /// Has no length, and is cut off without its end when it fails midway: what looks whole is whole.
    @Sendable private func export(_ call: APICall) async throws -> Response {
        let snapshot = try await snapshots.exportable(call.snapshot, caller: call.caller)
        let headers: HTTPFields = [
            .contentType: "application/octet-stream", .contentTypeOptions: "nosniff",
            .contentDisposition: "attachment; filename=\"\(snapshot.name ?? snapshot.id).martlet\"",
        ]
        let body = ResponseBody { writer in
            let pieces = BoundedChannel<ByteBuffer>(capacity: 4)
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    do {
                        try await snapshots.export(snapshot.id, caller: call.caller) { bytes in
                            try await pieces.send(ByteBuffer(bytes: bytes))
                        }
                        pieces.finish()
                    } catch {
                        call.context.logger.warning(
                            "export broke off", metadata: ["snapshot.id": "\(snapshot.id)", "error": "\(error)"])
                        pieces.finish(throwing: error)
                    }
                }
                // A client that left wants no more of it.
                defer {
                    pieces.finish()
                    group.cancelAll()
                }
                while let batch = try await pieces.nextBatch() {
                    for piece in batch { try await writer.write(piece) }
                }
            }
            try await writer.finish(nil)
        }
        return Response(status: .ok, headers: headers, body: body)
    }

    @Sendable private func importing(_ call: APICall) async throws -> Response {
        let name = try call.query("name")["name"]
        let pieces = BodyPieces()
        let snapshot = try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await pieces.fill(from: call.request) }
            defer {
                pieces.abandon()
                group.cancelAll()
            }
            return try await snapshots.importSnapshot(name: name, caller: call.caller) { try await pieces.next() }
        }
        return try StrictJSON.response(
            snapshot, status: .created, headers: [.location: "/v1/snapshots/\(snapshot.id)"])
    }
}

extension APICall {
    /// The snapshot named in the path, by id or name.
    var snapshot: String { parameter("snapshot") }
}
