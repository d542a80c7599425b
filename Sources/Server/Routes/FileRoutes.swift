import ControlPlane
import GuestClient
import GuestProtocol
import HTTPTypes
import Hummingbird
import MartletAPI
import NIOCore
import SandboxModel

/// Files in sandboxes: streamed both ways, listed, watched.
struct FileRoutes {
    private static let topic = "Files"
    private static let root = "/v1/sandboxes/{id}/files"
    let files: Files

    var endpoints: [Endpoint] {
        let (topic, root) = (FileRoutes.topic, FileRoutes.root)
        return [
            Endpoint(.get, root, topic, "Read a file, whole or a part.", handler: read),
            Endpoint(.put, root, topic, "Write a file, of any size.", handler: write),
            Endpoint(.delete, root, topic, "Remove a file or directory.", handler: remove),
            Endpoint(.get, "\(root)/stat", topic, "One file's facts.", handler: stat),
            Endpoint(.get, "\(root)/list", topic, "List a directory.", handler: list),
            Endpoint(.post, "\(root)/mkdir", topic, "Make a directory.", handler: makeDirectory),
            Endpoint(.post, "\(root)/move", topic, "Rename a file or directory.", handler: move),
            Endpoint(.get, "\(root)/watch", topic, "Follow changes, as events.", handler: watch),
        ]
    }

    @Sendable private func read(_ call: APICall) async throws -> Response {
        let query = try call.query("path", "offset", "length")
        let range = call.request.headers[.range].flatMap(ByteRange.init)
        let offset: UInt64 = try query.number("offset") ?? range?.first ?? 0
        let length: UInt64? = try query.number("length") ?? range?.length
        let reader = try await files.read(
            call.sandbox, path: try query.required("path"), offset: offset, length: length, caller: call.caller)
        let download = FileDownload(reader: reader, offset: offset, length: length)
        // Only a range that was asked for as such, and is not empty, is answered as one.
        let isRange = range != nil && query["offset"] == nil && query["length"] == nil
        if isRange, offset > 0, download.isPastEnd {
            throw MartletError.invalid("Range", "begins past the file's end at \(reader.info.size)")
        }
        return try await download.response(isRange: isRange)
    }

    @Sendable private func write(_ call: APICall) async throws -> Response {
        let query = try call.query("path", "mode", "owner")
        let path = try query.required("path")
        let writer = try await files.write(
            call.sandbox, path: path, mode: query["mode"], owner: query["owner"], caller: call.caller)
        let announced = call.request.headers[.contentLength].flatMap { Int($0) }
        var received = 0
        for try await buffer in call.request.body {
            received += buffer.readableBytes
            try await writer.write(buffer.readableBytesView)
        }
        // Left without `finish`, the writer leaves the old file as it was.
        if let announced, received < announced { throw MartletError.invalid("body", "was cut off") }
        return try StrictJSON.response(FileResource(try await writer.finish(), path: path))
    }

    @Sendable private func remove(_ call: APICall) async throws -> Response {
        let query = try call.query("path", "recursive")
        try await files.remove(
            call.sandbox, path: try query.required("path"), recursive: try query.flag("recursive"), caller: call.caller)
        return Response(status: .noContent)
    }

    @Sendable private func stat(_ call: APICall) async throws -> Response {
        let path = try call.query("path").required("path")
        return try StrictJSON.response(try await files.stat(call.sandbox, path: path, caller: call.caller))
    }

    @Sendable private func list(_ call: APICall) async throws -> Response {
        let query = try call.query("path", "depth", "limit")
        let items = try await files.list(
            call.sandbox, path: try query.required("path"), depth: try query.number("depth", 1),
            limit: try query.number("limit", 10_000), caller: call.caller)
        return try StrictJSON.response(Page(items: items, nextCursor: nil))
    }

    @Sendable private func makeDirectory(_ call: APICall) async throws -> Response {
        let request = try await call.decode(MakeDirectoryRequest.self)
        let made = try await files.makeDirectory(call.sandbox, request, caller: call.caller)
        return try StrictJSON.response(made, status: .created)
    }

    @Sendable private func move(_ call: APICall) async throws -> Response {
        let request = try await call.decode(MoveFileRequest.self)
        return try StrictJSON.response(try await files.move(call.sandbox, request, caller: call.caller))
    }

    @Sendable private func watch(_ call: APICall) async throws -> Response {
        let query = try call.query("path", "recursive")
        let watch = try await files.watch(
            call.sandbox, path: try query.required("path"), recursive: try query.flag("recursive"), caller: call.caller)
        return EventStream.response(call) { sink in
            while let (kind, event) = try await watch.next() { try await sink.send(kind, data: event) }
        }
    }
}
