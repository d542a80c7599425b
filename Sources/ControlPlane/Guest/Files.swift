import GuestClient
import GuestProtocol
import MartletAPI
import SandboxModel

/// Files in sandboxes. Every path is checked for form here and opened in the guest only.
package struct Files: Sendable {
    let sandboxes: Sandboxes

    /// Opens a regular file for reading from `offset`, at most `length` bytes.
    ///
    /// - Throws: `invalid_argument` (path, or it is a directory), `not_found`, `permission_denied`, `unavailable`.
    package func read(
        _ sandbox: String, path: String, offset: UInt64, length: UInt64?, caller: Caller
    ) async throws -> GuestFileReader {
        let path = try GuestPath.checked(path)
        let (_, guest) = try await sandboxes.guest(of: sandbox, caller: caller)
        return try await guest.readFile(ReadFile(path: path, offset: offset, length: length ?? .max))
    }

    /// Begins writing a file, which replaces the old one when the writer is finished.
    ///
    /// - Parameters:
    ///   - mode: octal text; nil keeps the replaced file's, else 0644.
    ///   - owner: `user` or `user:group`; nil keeps the replaced file's, else root.
    ///   - labels: kept with the file as extended attributes, instead of those of the replaced one.
    package func write(
        _ sandbox: String, path: String, mode: String?, owner: String?, labels: [String: String] = [:], caller: Caller
    ) async throws -> GuestFileWriter {
        let request = WriteFile(
            path: try GuestPath.checked(path), mode: try mode.map { text throws(MartletError) in try Files.mode(text) },
            owner: try CommandCheck.userName(owner ?? "", field: "owner"), labels: try FileLabelCheck.pairs(labels))
        guard request.path != "/" else { throw MartletError.invalid("path", "is a directory") }
        let (_, guest) = try await sandboxes.guest(of: sandbox, caller: caller)
        return guest.writeFile(request)
    }

    /// A path's facts; a link is not followed.
    package func stat(_ sandbox: String, path: String, caller: Caller) async throws -> FileResource {
        let path = try GuestPath.checked(path)
        let (_, guest) = try await sandboxes.guest(of: sandbox, caller: caller)
        return FileResource(try await guest.stat(path), path: path)
    }

    /// A directory's entries down to `depth`.
    ///
    /// - Throws: `too_large` for more than `limit`.
    package func list(
        _ sandbox: String, path: String, depth: Int, limit: Int, caller: Caller
    ) async throws -> [FileResource] {
        let path = try GuestPath.checked(path)
        guard (1...64).contains(depth) else { throw MartletError.invalid("depth", "\(depth) is outside 1...64") }
        guard (1...100_000).contains(limit) else {
            throw MartletError.invalid("limit", "\(limit) is outside 1...100000")
        }
        let (_, guest) = try await sandboxes.guest(of: sandbox, caller: caller)
        return try await guest.list(ListDirectory(path: path, depth: UInt32(depth)), limit: limit).map {
            FileResource($0, path: GuestPath.join(path, $0.path))
        }
    }

    /// The labels of a directory's entries down to `depth`, by whole path; of those that have any.
    package func labels(
        _ sandbox: String, path: String, depth: Int, caller: Caller
    ) async throws -> [String: [String: String]] {
        let path = try GuestPath.checked(path)
        let (_, guest) = try await sandboxes.guest(of: sandbox, caller: caller)
        let found = try await guest.labels(ListDirectory(path: path, depth: UInt32(clamping: depth)))
        return Dictionary(
            found.map { (GuestPath.join(path, $0.key), FileLabelCheck.labels($0.value)) }, uniquingKeysWith: { $1 })
    }

    /// Makes a directory.
    package func makeDirectory(
        _ sandbox: String, _ request: MakeDirectoryRequest, caller: Caller
    ) async throws -> FileResource {
        let message = MakeDirectory(
            path: try GuestPath.checked(request.path), mode: try Files.mode(request.mode ?? "0755"),
            parents: request.parents ?? true, owner: try CommandCheck.userName(request.owner ?? "", field: "owner"))
        let (_, guest) = try await sandboxes.guest(of: sandbox, caller: caller)
        return FileResource(try await guest.makeDirectory(message), path: message.path)
    }

    /// Renames a file or directory, replacing a file that is there.
    package func move(_ sandbox: String, _ request: MoveFileRequest, caller: Caller) async throws -> FileResource {
        let message = MoveFile(
            source: try GuestPath.checked(request.from, field: "from"),
            destination: try GuestPath.checked(request.to, field: "to"))
        let (_, guest) = try await sandboxes.guest(of: sandbox, caller: caller)
        return FileResource(try await guest.move(message), path: message.destination)
    }

    /// Removes a file or link, or a directory: with all that is in it if `recursive`, else only an empty one.
    package func remove(_ sandbox: String, path: String, recursive: Bool, caller: Caller) async throws {
        let path = try GuestPath.checked(path)
        guard path != "/" else { throw MartletError.invalid("path", "is the root directory; end the sandbox instead") }
        let (_, guest) = try await sandboxes.guest(of: sandbox, caller: caller)
        try await guest.remove(RemoveFile(path: path, recursive: recursive))
    }

    /// Watches a path; returns once the watch holds.
    package func watch(
        _ sandbox: String, path: String, recursive: Bool, caller: Caller
    ) async throws -> FileWatch {
        let path = try GuestPath.checked(path)
        let (_, guest) = try await sandboxes.guest(of: sandbox, caller: caller)
        return FileWatch(stream: try await guest.watch(WatchFiles(path: path, recursive: recursive)))
    }

    /// Permission bits from octal text.
    static func mode(_ text: String) throws(MartletError) -> UInt32 {
        guard (1...5).contains(text.utf8.count), let mode = UInt32(text, radix: 8), mode <= 0o7777,
            text.utf8.allSatisfy(\.isDigit)
        else { throw .invalid("mode", "must be octal permission bits such as 0644") }
        return mode
    }
}

/// What happens to a watched path, one change at a time.
package struct FileWatch: Sendable {
    let stream: GuestStream

    /// The next change; nil when the watch is over.
    package func next() async throws -> (kind: String, event: FileEventResource)? {
        while let element = try await stream.next() {
            switch element {
            case .reply: continue
            case .end: return nil
            case .data(_, let bytes): return try FileWatch.read(bytes)
            }
        }
        return nil
    }

    /// The changes that were told and not taken yet, without waiting for more; nil when the watch is over.
    ///
    /// - Throws: `unavailable` when the guest is gone.
    package func takeReady() throws(MartletError) -> [(kind: String, event: FileEventResource)]? {
        guard let elements = try stream.takeReady() else { return nil }
        var events: [(kind: String, event: FileEventResource)] = []
        for case .data(_, let bytes) in elements { events.append(try FileWatch.read(bytes)) }
        return events
    }

    private static func read(_ bytes: [UInt8]) throws(MartletError) -> (kind: String, event: FileEventResource) {
        guard let event = try? FileEvent(decoding: bytes) else {
            throw MartletError(.unavailable, "guest: it sent a file event that cannot be read")
        }
        let resource = FileEventResource(
            path: event.path, to: event.destination.isEmpty ? nil : event.destination, directory: event.isDirectory)
        return ("\(event.kind)", resource)
    }
}

extension FileResource {
    /// What the guest tells of a file. Path and times are the guest's word.
    package init(_ info: FileInfo, path: String) {
        let type =
            switch info.kind {
            case .file: "file"
            case .directory: "directory"
            case .symbolicLink: "symlink"
            case .other: "other"
            }
        let name = path.split(separator: "/").last.map(String.init) ?? "/"
        let octal = String(info.mode & 0o7777, radix: 8)
        self.init(
            type: type, path: path, name: name, size: info.size,
            mode: String(repeating: "0", count: max(0, 4 - octal.count)) + octal, uid: info.uid, gid: info.gid,
            modifiedAt: Timestamp(milliseconds: info.modifiedMilliseconds.bounded),
            target: info.target.isEmpty ? nil : info.target,
            labels: info.labels.isEmpty ? nil : FileLabelCheck.labels(info.labels))
    }
}
