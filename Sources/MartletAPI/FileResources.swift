import SandboxModel

/// One file or directory in a sandbox.
public struct FileResource: Codable, Sendable {
    /// `file`, `directory`, `symlink` or `other`.
    public var type: String
    public var path: String
    public var name: String
    public var size: UInt64
    /// Permission bits as octal text, for example `0644`.
    public var mode: String
    public var uid: UInt32
    public var gid: UInt32
    public var modifiedAt: Timestamp
    public var target: String?
    /// Labels that were written with it, where one file is told of.
    public var labels: [String: String]?

    public init(
        type: String, path: String, name: String, size: UInt64, mode: String, uid: UInt32, gid: UInt32,
        modifiedAt: Timestamp, target: String?, labels: [String: String]? = nil
    ) {
        self.type = type
        self.path = path
        self.name = name
        self.size = size
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.modifiedAt = modifiedAt
        self.target = target
        self.labels = labels
    }

    enum CodingKeys: String, CodingKey {
        case type, path, name, size, mode, uid, gid, target, labels
        case modifiedAt = "modified_at"
    }
}

/// Body of `POST …/files/mkdir`.
public struct MakeDirectoryRequest: APIRequest {
    public var path: String
    /// Octal text, `0755` if absent.
    public var mode: String?
    /// True if absent: missing parents are made, and a directory that is there is no error.
    public var parents: Bool?
    /// `user` or `user:group`.
    public var owner: String?

    public init(path: String, mode: String? = nil, parents: Bool? = nil, owner: String? = nil) {
        self.path = path
        self.mode = mode
        self.parents = parents
        self.owner = owner
    }

    enum CodingKeys: String, CodingKey, CaseIterable { case path, mode, parents, owner }
    public static var fields: [String] { CodingKeys.allCases.map(\.rawValue) }
}

/// Body of `POST …/files/move`.
public struct MoveFileRequest: APIRequest {
    public var from: String
    public var to: String

    public init(from: String, to: String) {
        self.from = from
        self.to = to
    }

    enum CodingKeys: String, CodingKey, CaseIterable { case from, to }
    public static var fields: [String] { CodingKeys.allCases.map(\.rawValue) }
}

/// `data` of the server-sent events of `GET …/files/watch`; the event's name is the kind.
public struct FileEventResource: Codable, Sendable {
    public var path: String
    public var to: String?
    public var directory: Bool

    public init(path: String, to: String?, directory: Bool) {
        self.path = path
        self.to = to
        self.directory = directory
    }
}
