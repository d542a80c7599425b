// Messages of `filesystem.Filesystem`, as in packages/envd/spec/filesystem/filesystem.proto of e2b-dev/infra.

/// A request that names one path: `Stat`, `MakeDir`, `Remove`.
package struct PathRequest: Decodable, Sendable {
    package var path: String?
}

package struct MoveRequest: Decodable, Sendable {
    package var source: String?
    package var destination: String?
}

package struct ListDirRequest: Decodable, Sendable {
    package var path: String?
    package var depth: UInt32?
}

/// `WatchDir` and `CreateWatcher`.
package struct WatchRequest: Decodable, Sendable {
    package var path: String?
    package var recursive: Bool?
    /// Whether events carry what is known of the file now.
    package var includeEntry: Bool?
}

/// `GetWatcherEvents` and `RemoveWatcher`.
package struct WatcherRequest: Decodable, Sendable {
    package var watcherId: String?
}

package enum FileType: String, CaseIterable, ProtoNumbered, Sendable {
    case unspecified = "FILE_TYPE_UNSPECIFIED"
    case file = "FILE_TYPE_FILE"
    case directory = "FILE_TYPE_DIRECTORY"
    case symlink = "FILE_TYPE_SYMLINK"

    package var number: Int {
        switch self {
        case .unspecified: 0
        case .file: 1
        case .directory: 2
        case .symlink: 3
        }
    }
}

package enum FileEventType: String, CaseIterable, ProtoNumbered, Sendable {
    case unspecified = "EVENT_TYPE_UNSPECIFIED"
    case create = "EVENT_TYPE_CREATE"
    case write = "EVENT_TYPE_WRITE"
    case remove = "EVENT_TYPE_REMOVE"
    case rename = "EVENT_TYPE_RENAME"
    case chmod = "EVENT_TYPE_CHMOD"

    package var number: Int {
        switch self {
        case .unspecified: 0
        case .create: 1
        case .write: 2
        case .remove: 3
        case .rename: 4
        case .chmod: 5
        }
    }
}

/// What is known of a file or directory.
package struct EntryInfo: Encodable, Sendable, Equatable {
    package var name: String
    package var type: ProtoEnum<FileType>
    package var path: String
    /// Bytes; protobuf's JSON writes 64-bit numbers as text.
    package var size: String
    /// Permission bits.
    package var mode: UInt32
    /// As `ls -l` shows them.
    package var permissions: String
    package var owner: String
    package var group: String
    package var modifiedTime: String
    package var symlinkTarget: String?
    package var metadata: [String: String]?

    package init(
        name: String, type: FileType, path: String, size: UInt64, mode: UInt32, owner: String, group: String,
        modifiedTime: String, symlinkTarget: String?, metadata: [String: String]? = nil
    ) {
        self.name = name
        self.type = ProtoEnum(type)
        self.path = path
        self.size = "\(size)"
        self.mode = mode
        permissions = EntryInfo.permissions(mode, type)
        self.owner = owner
        self.group = group
        self.modifiedTime = modifiedTime
        self.symlinkTarget = symlinkTarget
        self.metadata = metadata
    }

    /// `drwxr-xr-x` of a mode; special bits as Go's `FileMode.String` puts them, in front.
    static func permissions(_ mode: UInt32, _ type: FileType) -> String {
        var head = ""
        switch type {
        case .directory: head = "d"
        case .symlink: head = "L"
        case .file, .unspecified: break
        }
        if mode & 0o4000 != 0 { head += "u" }
        if mode & 0o2000 != 0 { head += "g" }
        if mode & 0o1000 != 0 { head += "t" }
        if head.isEmpty { head = "-" }
        let letters: [Character] = ["r", "w", "x"]
        return head + String((0..<9).map { bit in mode & (0o400 >> UInt32(bit)) != 0 ? letters[bit % 3] : "-" })
    }
}

package struct EntryResponse: Encodable, Sendable {
    package var entry: EntryInfo
    package init(entry: EntryInfo) { self.entry = entry }
}

package struct ListDirResponse: Encodable, Sendable {
    package var entries: [EntryInfo]
    package init(entries: [EntryInfo]) { self.entries = entries }
}

/// One change below a watched directory.
package struct FilesystemEvent: Encodable, Sendable {
    /// Relative to the watched directory.
    package var name: String
    package var type: ProtoEnum<FileEventType>
    package var entry: EntryInfo?

    package init(name: String, type: FileEventType, entry: EntryInfo? = nil) {
        self.name = name
        self.type = ProtoEnum(type)
        self.entry = entry
    }
}

/// Message of the stream `WatchDir`.
package struct WatchDirResponse: Encodable, Sendable {
    package struct Nothing: Encodable, Sendable { package init() {} }
    package var start: Nothing?
    package var filesystem: FilesystemEvent?
    package var keepalive: Nothing?

    package static let started = WatchDirResponse(start: Nothing())
    package static let alive = WatchDirResponse(keepalive: Nothing())

    package init(start: Nothing? = nil, filesystem: FilesystemEvent? = nil, keepalive: Nothing? = nil) {
        self.start = start
        self.filesystem = filesystem
        self.keepalive = keepalive
    }
}

package struct CreateWatcherResponse: Encodable, Sendable {
    package var watcherId: String
    package init(watcherId: String) { self.watcherId = watcherId }
}

package struct WatcherEventsResponse: Encodable, Sendable {
    package var events: [FilesystemEvent]
    package init(events: [FilesystemEvent]) { self.events = events }
}

/// An answer that says nothing more than that it is done.
package struct EmptyResponse: Codable, Sendable {
    package init() {}
}
