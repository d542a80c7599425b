import AsyncHTTPClient
import FoundationEssentials
import MartletAPI
import NIOCore
import NIOHTTP1
import SandboxModel

/// One change at a watched path.
public struct FileChange: Sendable {
    /// What happened, such as `created` or `modified`.
    public var kind: String
    /// To which path.
    public var event: FileEventResource
}

extension MartletClient {
    /// Opens a file in a sandbox for reading.
    public func download(_ sandbox: String, _ path: String) async throws -> FileDownload {
        let call = files(.GET, sandbox, query: [("path", path)])
        let response = try await transport.send(call)
        return FileDownload(
            size: (response.headers.first(name: "x-file-size") ?? response.headers.first(name: "content-length"))
                .flatMap { UInt64($0) },
            mode: response.headers.first(name: "x-file-mode").flatMap { UInt32($0, radix: 8) },
            transport: transport, call: call, body: response.body)
    }

    /// Writes a file in a sandbox; it shows there, whole, when this returns.
    ///
    /// - Parameters:
    ///   - content: is read no faster than the sandbox takes it.
    ///   - size: the number of bytes, where it is known beforehand.
    ///   - mode: permission bits; nil keeps those of a file that is there.
    ///   - owner: `user` or `user:group`.
    @discardableResult
    public func upload<Content: AsyncSequence & Sendable>(
        _ sandbox: String, _ path: String, _ content: Content, size: UInt64? = nil, mode: UInt32? = nil,
        owner: String? = nil
    ) async throws -> FileResource where Content.Element == ByteBuffer {
        var call = files(.PUT, sandbox, query: uploadQuery(path, mode, owner))
        call.body = .stream(content, length: size.map { .known(Int64(clamping: $0)) } ?? .unknown)
        call.headers.append(("content-type", "application/octet-stream"))
        return try await transport.json(call)
    }

    /// Writes a small file in a sandbox.
    @discardableResult
    public func upload(
        _ sandbox: String, _ path: String, bytes: some Collection<UInt8>, mode: UInt32? = nil, owner: String? = nil
    ) async throws -> FileResource {
        var call = files(.PUT, sandbox, query: uploadQuery(path, mode, owner))
        call.body = .bytes(ByteBuffer(bytes: bytes))
        call.headers.append(("content-type", "application/octet-stream"))
        return try await transport.json(call)
    }

    /// A path's facts; a link is not followed.
    public func fileInfo(_ sandbox: String, _ path: String) async throws -> FileResource {
        try await transport.json(files(.GET, sandbox, "stat", query: [("path", path)]))
    }

    /// A directory's entries, and those of its directories down to `depth`.
    public func listFiles(_ sandbox: String, _ path: String, depth: Int? = nil) async throws -> [FileResource] {
        let query: [(name: String, value: String?)] = [
            ("path", path), ("depth", depth.map(String.init)), ("limit", "100000"),
        ]
        let page: Page<FileResource> = try await transport.json(files(.GET, sandbox, "list", query: query))
        return page.items
    }

    /// Makes a directory.
    @discardableResult
    public func makeDirectory(_ sandbox: String, _ request: MakeDirectoryRequest) async throws -> FileResource {
        try await transport.json(try transport.with(request, files(.POST, sandbox, "mkdir")))
    }

    /// Renames a file or directory.
    @discardableResult
    public func moveFile(_ sandbox: String, from: String, to: String) async throws -> FileResource {
        let request = MoveFileRequest(from: from, to: to)
        return try await transport.json(try transport.with(request, files(.POST, sandbox, "move")))
    }

    /// Removes a file, or a directory with all in it if `recursive`.
    public func removeFile(_ sandbox: String, _ path: String, recursive: Bool = false) async throws {
        let query: [(name: String, value: String?)] = [("path", path), ("recursive", recursive ? "true" : nil)]
        try await transport.perform(files(.DELETE, sandbox, query: query))
    }

    /// What changes at a path, as it happens.
    public func watchFiles(
        _ sandbox: String, _ path: String, recursive: Bool = false
    ) -> APIEventStream<FileChange> {
        let query: [(name: String, value: String?)] = [("path", path), ("recursive", recursive ? "true" : nil)]
        return APIEventStream(transport, files(.GET, sandbox, "watch", query: query)) { name, data in
            FileChange(kind: name, event: try JSONDecoder().decode(FileEventResource.self, from: data))
        }
    }

    private func uploadQuery(_ path: String, _ mode: UInt32?, _ owner: String?) -> [(name: String, value: String?)] {
        let octal = mode.map { bits in
            let digits = String(bits & 0o7777, radix: 8)
            return String(repeating: "0", count: max(0, 4 - digits.utf8.count)) + digits
        }
        return [("path", path), ("mode", octal), ("owner", owner)]
    }

    private func files(
        _ method: APIMethod, _ sandbox: String, _ rest: String..., query: [(name: String, value: String?)] = []
    ) -> APICall {
        var call = APICall(method, "v1", "sandboxes", sandbox, "files", query: query)
        call.path += rest
        return call
    }
}
