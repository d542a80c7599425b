import ControlPlane
import E2BProtocol
import GuestClient
import GuestProtocol
import HTTPTypes
import Hummingbird
import NIOCore
import SandboxModel

/// One request that writes files. A file shows in the guest when it is whole; of a request that is cut off, the files
/// before the cut are there.
struct FileUpload: Sendable {
    let envd: Envd
    let call: EnvdCall
    let user: String
    /// Kept with each file.
    var labels: [String: String] = [:]

    /// The body is the file.
    func raw(to path: String) async throws -> WrittenFile {
        let path = try await envd.resolve(path, user: user, call)
        let writer = try await begin(path)
        try await eachPiece { try await writer.write($0) }
        return try await finish(writer, path)
    }

    /// Each part `file` of a form is a file, to where its name says, or the only one to `path`.
    func parts(_ contentType: String, path: String?) async throws -> [WrittenFile] {
        var written: [WrittenFile] = []
        var current: (writer: GuestFileWriter, path: String)?
        var parser = try readable { () throws(MultipartParser.Malformed) in
            try MultipartParser(contentType: contentType)
        }
        try await eachPiece { bytes in
            let elements = try readable { () throws(MultipartParser.Malformed) in try parser.append(bytes) }
            for element in elements {
                switch element {
                case .part("file", let filename):
                    let target = try await envd.resolve(path ?? filename ?? "", user: user, call)
                    guard !written.contains(where: { $0.path == target }) else {
                        throw MartletError.invalid(
                            "file",
                            "you cannot upload multiple files to the same path '\(target)' in one upload request")
                    }
                    current = (try await begin(target), target)
                case .part: current = nil
                case .data(let bytes): try await current?.writer.write(bytes)
                case .partEnd:
                    guard let whole = current else { continue }
                    written.append(try await finish(whole.writer, whole.path))
                    current = nil
                }
            }
        }
        guard parser.isComplete else { throw MartletError.invalid("body", "was cut off") }
        return written
    }

    private func readable<Value>(
        _ read: () throws(MultipartParser.Malformed) -> Value
    ) throws(MartletError) -> Value {
        do {
            return try read()
        } catch {
            throw .invalid("body", "error reading form: \(error.reason)")
        }
    }

    private func begin(_ path: String) async throws -> GuestFileWriter {
        try await envd.files.write(call.id, path: path, mode: nil, owner: user, labels: labels, caller: call.caller)
    }

    private func finish(_ writer: GuestFileWriter, _ path: String) async throws -> WrittenFile {
        do {
            let info = try await writer.finish()
            // Rather told than silently left out; the file is there.
            guard info.labels.isEmpty == labels.isEmpty else {
                throw MartletError(
                    .unsupported, "metadata: this sandbox was made before files could have any; the file was written")
            }
        } catch let error as MartletError where error.details["reason"] == "is_directory" {
            throw MartletError(.invalidArgument, "path is a directory: \(path)")
        }
        return WrittenFile(path: path, metadata: labels.isEmpty ? nil : labels)
    }

    private func eachPiece(_ body: (ByteBufferView) async throws -> Void) async throws {
        let announced = call.request.headers[.contentLength].flatMap { Int($0) }
        var received = 0
        let gzip = try decoder()
        for try await buffer in call.request.body {
            received += buffer.readableBytes
            guard let gzip else {
                try await body(buffer.readableBytesView)
                continue
            }
            gzip.append(buffer.readableBytesView)
            while let piece = try unpacked(gzip) { try await body(ByteBufferView(ByteBuffer(bytes: piece))) }
        }
        if let announced, received < announced { throw MartletError.invalid("body", "was cut off") }
        if let gzip, !gzip.isComplete { throw MartletError.invalid("body", "was cut off") }
    }

    /// nil for a body that comes as it is.
    private func decoder() throws(MartletError) -> GzipDecoder? {
        switch call.request.headers[.contentEncoding]?.lowercased() {
        case nil, "", "identity": return nil
        case "gzip":
            do {
                return try GzipDecoder()
            } catch {
                throw MartletError(.unavailable, "body: \(error.reason)")
            }
        default:
            throw .invalid("Content-Encoding", "is neither gzip nor identity")
        }
    }

    private func unpacked(_ gzip: GzipDecoder) throws(MartletError) -> [UInt8]? {
        do {
            return try gzip.next()
        } catch {
            throw .invalid("body", error.reason)
        }
    }
}
