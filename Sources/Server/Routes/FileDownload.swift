import ControlPlane
import GuestClient
import GuestProtocol
import HTTPTypes
import Hummingbird
import MartletAPI
import NIOCore
import SandboxModel

/// A file on its way to a client. Its length is promised before the first byte, and kept: what the file grew by in the
/// meantime is left out, and if the guest gives less, the connection is cut instead of ending as if all were there.
struct FileDownload: Sendable {
    let reader: GuestFileReader
    let offset: UInt64
    let length: UInt64?

    private var size: UInt64 { reader.info.size }
    /// Bytes there are to send, by the size the file had when it was opened.
    private var promised: UInt64 { min(length ?? .max, size > offset ? size - offset : 0) }
    var isPastEnd: Bool { offset >= size }

    func response(isRange: Bool) async throws -> Response {
        var headers = facts
        guard size > 0 else { return try await unsized(headers) }
        let promised = promised
        if isRange, promised > 0 {
            headers[.contentRange] = "bytes \(offset)-\(offset + promised - 1)/\(size)"
        }
        let body = ResponseBody(contentLength: Int(clamping: promised)) { writer in
            var rest = promised
            var iterator = reader.makeAsyncIterator()
            while rest > 0 {
                guard let bytes = try await iterator.next() else {
                    throw MartletError(.unavailable, "download: the guest gave less of the file than it said")
                }
                let piece = bytes.prefix(Int(clamping: rest))
                rest -= UInt64(piece.count)
                try await writer.write(ByteBuffer(bytes: piece))
            }
            try await writer.finish(nil)
        }
        return Response(status: isRange && promised > 0 ? .partialContent : .ok, headers: headers, body: body)
    }

    /// Files of /proc and /sys say they are empty and are not; what is really empty is told as such.
    private func unsized(_ headers: HTTPFields) async throws -> Response {
        var iterator = reader.makeAsyncIterator()
        guard let first = try await iterator.next() else { return Response(status: .ok, headers: headers) }
        let body = ResponseBody { [reader] writer in
            try await writer.write(ByteBuffer(bytes: first))
            for try await bytes in reader { try await writer.write(ByteBuffer(bytes: bytes)) }
            try await writer.finish(nil)
        }
        return Response(status: .ok, headers: headers, body: body)
    }

    private var facts: HTTPFields {
        let file = FileResource(reader.info, path: reader.info.path)
        return [
            .contentType: "application/octet-stream", .contentTypeOptions: "nosniff", .acceptRanges: "bytes",
            .fileMode: file.mode, .fileUser: "\(file.uid)", .fileGroup: "\(file.gid)", .fileSize: "\(file.size)",
            .fileModified: file.modifiedAt.description,
        ]
    }
}
