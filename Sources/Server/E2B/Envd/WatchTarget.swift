import E2BProtocol
import MartletAPI
import SandboxModel

/// A directory that a client watches, and what changes in it are called.
struct WatchTarget: Sendable, Equatable {
    /// Where it is, all links followed.
    let path: String
    let isRecursive: Bool
    let includesEntry: Bool

    struct Change: Sendable, Equatable {
        var path: String
        var type: FileEventType
    }

    /// A change of ours in the terms of E2B's daemon, which tells of both ends of a renaming by itself.
    ///
    /// - Throws: `internal` when more happened than could be told.
    func changes(_ kind: String, _ event: FileEventResource) throws(ConnectError) -> [Change] {
        switch kind {
        case "renamed":
            guard let target = event.to else { return [] }
            // A file that was written through us appears under its name once it is whole.
            if WatchTarget.isUnfinished(event.path) {
                return [Change(path: target, type: .create), Change(path: target, type: .write)]
            }
            return [Change(path: event.path, type: .rename), Change(path: target, type: .create)]
        case "overflow":
            throw ConnectError(.internal, "watcher error: more happened than could be told; look again")
        default:
            guard !WatchTarget.isUnfinished(event.path), let type = WatchTarget.types[kind] else { return [] }
            return [Change(path: event.path, type: type)]
        }
    }

    /// A path relative to the directory; a dot is the directory itself.
    func name(of path: String) -> String {
        guard path != self.path else { return "." }
        let prefix = self.path == "/" ? "/" : self.path + "/"
        return path.hasPrefix(prefix) ? String(path.dropFirst(prefix.count)) : path
    }

    private static let types: [String: FileEventType] = [
        "created": .create, "modified": .write, "removed": .remove, "attributes": .chmod,
    ]

    /// Whether a path is that of a file our agent has not put in its place yet.
    private static func isUnfinished(_ path: String) -> Bool {
        let name = path.split(separator: "/").last ?? ""
        let digits = name.dropFirst(".martlet-".count)
        return name.hasPrefix(".martlet-") && digits.count > 8 && digits.utf8.allSatisfy { (48...57).contains($0) }
    }
}
