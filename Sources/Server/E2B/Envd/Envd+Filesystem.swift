import ControlPlane
import E2BProtocol
import Hummingbird
import MartletAPI
import SandboxModel

/// `filesystem.Filesystem`.
extension Envd {
    /// Entries of a list; its answer is one message.
    private static let maxEntries = 50_000
    /// Links followed one after another before a chain counts as endless, as the kernel counts (path_resolution(7)).
    private static let maxLinks = 40

    func stat(_ call: EnvdCall) async throws -> Response {
        let path = try await path(try await call.message(PathRequest.self).path, call)
        return try call.answer(EntryResponse(entry: try await entry(path, call)))
    }

    func makeDir(_ call: EnvdCall) async throws -> Response {
        let path = try await path(try await call.message(PathRequest.self).path, call)
        if let (_, found) = try await followed(path, call) {
            guard found.type != "directory" else {
                throw ConnectError(.alreadyExists, "directory already exists: \(path)")
            }
            throw ConnectError(.invalidArgument, "path already exists but it is not a directory: \(path)")
        }
        _ = try await files.makeDirectory(
            call.id, MakeDirectoryRequest(path: path, owner: try call.user()), caller: call.caller)
        return try call.answer(EntryResponse(entry: try await entry(path, call)))
    }

    func move(_ call: EnvdCall) async throws -> Response {
        let message = try await call.message(MoveRequest.self)
        let source = try await path(message.source, call)
        let destination = try await path(message.destination, call)
        _ = try await files.stat(call.id, path: source, caller: call.caller)
        if let slash = destination.lastIndex(of: "/"), slash > destination.startIndex {
            _ = try await files.makeDirectory(
                call.id, MakeDirectoryRequest(path: String(destination[..<slash]), owner: try call.user()),
                caller: call.caller)
        }
        let moved = try await files.move(
            call.id, MoveFileRequest(from: source, to: destination), caller: call.caller)
        return try call.answer(EntryResponse(entry: try await entry(moved.path, call)))
    }

    /// What is not there already is no error, as for `rm -rf`.
    func remove(_ call: EnvdCall) async throws -> Response {
        let path = try await path(try await call.message(PathRequest.self).path, call)
        do {
            try await files.remove(call.id, path: path, recursive: true, caller: call.caller)
        } catch let error as MartletError where error.details["reason"] == "not_found" {}
        return try call.answer(EmptyResponse())
    }

    func listDir(_ call: EnvdCall) async throws -> Response {
        let message = try await call.message(ListDirRequest.self)
        let asked = try await path(message.path, call)
        guard let (real, found) = try await followed(asked, call) else {
            throw ConnectError(.notFound, "path not found: \(asked)")
        }
        guard found.type == "directory" else {
            throw ConnectError(.invalidArgument, "path is not a directory: \(asked)")
        }
        // More than the deepest tree a path's length allows is as deep as our list goes.
        let depth = min(max(Int(message.depth ?? 1), 1), 64)
        async let accounts = GuestAccounts(of: call, files)
        async let labels = files.labels(call.id, path: real, depth: depth, caller: call.caller)
        let listed = try await files.list(
            call.id, path: real, depth: depth, limit: Envd.maxEntries, caller: call.caller)
        let labelled = try await labels
        var entries: [EntryInfo] = []
        for file in listed.sorted(by: { $0.path < $1.path }) {
            var entry = try await EntryInfo(file, accounts: accounts)
            if file.type == "symlink" { try await follow(&entry, call) }
            entry.metadata = labelled[file.path]
            entry.path = asked == real ? file.path : Envd.join(asked, String(file.path.dropFirst(real.count)))
            entries.append(entry)
        }
        return try call.answer(ListDirResponse(entries: entries))
    }

    // MARK: Facts of files

    /// The path of a message, made absolute.
    private func path(_ path: String?, _ call: EnvdCall) async throws -> String {
        try await resolve(path ?? "", user: try call.user(), call)
    }

    /// What is known of a path; a link is told with what it leads to.
    func entry(_ path: String, _ call: EnvdCall) async throws -> EntryInfo {
        async let accounts = GuestAccounts(of: call, files)
        let file = try await files.stat(call.id, path: path, caller: call.caller)
        var entry = try await EntryInfo(file, accounts: accounts)
        if file.type == "symlink" { try await follow(&entry, call) }
        return entry
    }

    /// Gives a link's entry the type and permissions of what it leads to, as E2B's daemon does.
    private func follow(_ entry: inout EntryInfo, _ call: EnvdCall) async throws {
        guard let (path, file) = try await followed(entry.path, call) else {
            entry.type = ProtoEnum(.unspecified)
            return
        }
        entry.symlinkTarget = path
        entry.type = ProtoEnum(FileType(file))
        entry.mode = UInt32(file.mode, radix: 8) ?? 0
    }

    /// Where a path leads, link by link; nil when it leads nowhere.
    func followed(_ path: String, _ call: EnvdCall) async throws -> (path: String, file: FileResource)? {
        var path = path
        for _ in 0..<Envd.maxLinks {
            let file: FileResource
            do {
                file = try await files.stat(call.id, path: path, caller: call.caller)
            } catch let error as MartletError where error.details["reason"] == "not_found" {
                return nil
            }
            guard file.type == "symlink", let target = file.target else { return (file.path, file) }
            path = target.hasPrefix("/") ? target : Envd.join(Envd.parent(file.path), target)
        }
        return nil
    }

    static func join(_ directory: String, _ name: String) -> String {
        let tail = name.drop { $0 == "/" }
        return directory.hasSuffix("/") ? directory + tail : directory + "/" + tail
    }

    static func parent(_ path: String) -> String {
        guard let slash = path.lastIndex(of: "/"), slash > path.startIndex else { return "/" }
        return String(path[..<slash])
    }
}

extension FileType {
    init(_ file: FileResource) {
        switch file.type {
        case "file": self = .file
        case "directory": self = .directory
        case "symlink": self = .symlink
        default: self = .unspecified
        }
    }
}

extension EntryInfo {
    init(_ file: FileResource, accounts: GuestAccounts) {
        self.init(
            name: file.name, type: FileType(file), path: file.path, size: file.size,
            mode: UInt32(file.mode, radix: 8) ?? 0, owner: accounts.user(file.uid), group: accounts.group(file.gid),
            modifiedTime: file.modifiedAt.description, symlinkTarget: file.type == "symlink" ? file.target : nil,
            metadata: file.labels)
    }
}
