/// What a path is.
public enum FileKind: UInt8, Sendable, CaseIterable {
    case other = 0
    case file = 1
    case directory = 2
    case symbolicLink = 3
}

/// One file's facts: end of `statFile`, reply of `readFile`, entries of `listDirectory`.
public struct FileInfo: WireMessage {
    /// The whole path, or below a listed directory the path relative to it.
    public var path: String
    public var kind: FileKind
    public var size: UInt64
    /// Permission bits, 07777.
    public var mode: UInt32
    public var uid: UInt32
    public var gid: UInt32
    /// Milliseconds since 1970.
    public var modifiedMilliseconds: Int64
    /// Where a symbolic link points; else empty.
    public var target: String
    /// `name=value` pairs kept with the file. Only in `withLabels`: entries of a list stand one after another, and cannot
    /// grow.
    public var labels: [String] = []

    /// All of it, as `statFile` and `writeFile` end with. Older agents end with what they know, older hosts read as much.
    public var withLabels: [UInt8] {
        var writer = WireWriter()
        write(to: &writer)
        writer.strings(labels)
        return writer.bytes
    }

    /// Reads `withLabels`.
    public init(decodingWithLabels payload: [UInt8]) throws(WireError) {
        var reader = WireReader(payload)
        self = try FileInfo(from: &reader)
        labels = try reader.strings(ifAbsent: [])
    }

    public init(
        path: String, kind: FileKind, size: UInt64, mode: UInt32, uid: UInt32, gid: UInt32,
        modifiedMilliseconds: Int64, target: String = ""
    ) {
        self.path = path
        self.kind = kind
        self.size = size
        self.mode = mode
        self.uid = uid
        self.gid = gid
        self.modifiedMilliseconds = modifiedMilliseconds
        self.target = target
    }

    public func write(to writer: inout WireWriter) {
        writer.string(path)
        writer.u8(kind.rawValue)
        writer.u64(size)
        writer.u32(mode)
        writer.u32(uid)
        writer.u32(gid)
        writer.i64(modifiedMilliseconds)
        writer.string(target)
    }

    public init(from reader: inout WireReader) throws(WireError) {
        path = try reader.string()
        kind = FileKind(rawValue: try reader.u8()) ?? .other
        size = try reader.u64()
        mode = try reader.u32()
        uid = try reader.u32()
        gid = try reader.u32()
        modifiedMilliseconds = try reader.i64()
        target = try reader.string()
    }
}

/// Reads a regular file: reply `FileInfo`, then data, then an empty end.
public struct ReadFile: WireMessage {
    /// An absolute path.
    public var path: String
    public var offset: UInt64
    /// Bytes wanted at most; `UInt64.max` for all.
    public var length: UInt64

    public init(path: String, offset: UInt64 = 0, length: UInt64 = .max) {
        self.path = path
        self.offset = offset
        self.length = length
    }

    public func write(to writer: inout WireWriter) {
        writer.string(path)
        writer.u64(offset)
        writer.u64(length)
    }

    public init(from reader: inout WireReader) throws(WireError) {
        path = try reader.string()
        offset = try reader.u64()
        length = try reader.u64()
    }
}

/// Writes a file whole: data from the host goes to a new file beside it, which replaces it at the end frame. The
/// stream ends with the new `FileInfo`. Cancelled or failed, the old file is untouched.
public struct WriteFile: WireMessage {
    /// An absolute path; missing parent directories are made.
    public var path: String
    /// Permission bits, or nil for those of the file replaced, else 0644.
    public var mode: UInt32?
    /// A name or number, or `user:group`; empty keeps the replaced file's owner, else root.
    public var owner: String
    /// `name=value` pairs to be kept with the file, instead of those of the file replaced. An older agent passes them over:
    /// what it ends with has none.
    public var labels: [String]

    public init(path: String, mode: UInt32? = nil, owner: String = "", labels: [String] = []) {
        self.path = path
        self.mode = mode
        self.owner = owner
        self.labels = labels
    }

    public func write(to writer: inout WireWriter) {
        writer.string(path)
        writer.u32(mode ?? .max)
        writer.string(owner)
        writer.strings(labels)
    }

    public init(from reader: inout WireReader) throws(WireError) {
        path = try reader.string()
        let mode = try reader.u32()
        self.mode = mode == .max ? nil : mode
        owner = try reader.string()
        labels = try reader.strings(ifAbsent: [])
    }
}

/// The labels of one file below a listed directory: `listLabels` takes a `ListDirectory` and streams those of files that
/// have any, as `listDirectory` does.
public struct FileLabels: WireMessage {
    /// Relative to the listed directory.
    public var path: String
    /// `name=value` pairs.
    public var labels: [String]

    public init(path: String, labels: [String]) {
        self.path = path
        self.labels = labels
    }

    public func write(to writer: inout WireWriter) {
        writer.string(path)
        writer.strings(labels)
    }

    public init(from reader: inout WireReader) throws(WireError) {
        path = try reader.string()
        labels = try reader.strings()
    }
}

/// Names one path: `statFile` (the link itself, not what it points to).
public struct FileReference: WireMessage {
    public var path: String

    public init(path: String) { self.path = path }
    public func write(to writer: inout WireWriter) { writer.string(path) }
    public init(from reader: inout WireReader) throws(WireError) { path = try reader.string() }
}

/// Lists a directory: data frames, each holding whole `FileInfo` values one after another, then an empty end.
public struct ListDirectory: WireMessage {
    public var path: String
    /// 1 lists the directory's own entries; more goes into its subdirectories (links are not followed).
    public var depth: UInt32

    public init(path: String, depth: UInt32 = 1) {
        self.path = path
        self.depth = depth
    }

    public func write(to writer: inout WireWriter) {
        writer.string(path)
        writer.u32(depth)
    }

    public init(from reader: inout WireReader) throws(WireError) {
        path = try reader.string()
        depth = try reader.u32()
    }
}

/// Makes a directory; ends with its `FileInfo`.
public struct MakeDirectory: WireMessage {
    public var path: String
    public var mode: UInt32
    /// Makes missing parents too, and takes a directory that is there for success.
    public var parents: Bool
    public var owner: String

    public init(path: String, mode: UInt32 = 0o755, parents: Bool = true, owner: String = "") {
        self.path = path
        self.mode = mode
        self.parents = parents
        self.owner = owner
    }

    public func write(to writer: inout WireWriter) {
        writer.string(path)
        writer.u32(mode)
        writer.bool(parents)
        writer.string(owner)
    }

    public init(from reader: inout WireReader) throws(WireError) {
        path = try reader.string()
        mode = try reader.u32()
        parents = try reader.bool()
        owner = try reader.string()
    }
}

/// Renames a file or directory, replacing a file that is there; ends with the new `FileInfo`.
public struct MoveFile: WireMessage {
    public var source: String
    public var destination: String

    public init(source: String, destination: String) {
        self.source = source
        self.destination = destination
    }

    public func write(to writer: inout WireWriter) {
        writer.string(source)
        writer.string(destination)
    }

    public init(from reader: inout WireReader) throws(WireError) {
        source = try reader.string()
        destination = try reader.string()
    }
}

/// Removes a file, link or directory; ends empty.
public struct RemoveFile: WireMessage {
    public var path: String
    /// Removes a directory with all that is in it; else it must be empty.
    public var recursive: Bool

    public init(path: String, recursive: Bool) {
        self.path = path
        self.recursive = recursive
    }

    public func write(to writer: inout WireWriter) {
        writer.string(path)
        writer.bool(recursive)
    }

    public init(from reader: inout WireReader) throws(WireError) {
        path = try reader.string()
        recursive = try reader.bool()
    }
}

/// Watches a directory or file: an empty reply once the watch holds, then data frames, each one `FileEvent`, until
/// cancelled.
public struct WatchFiles: WireMessage {
    public var path: String
    public var recursive: Bool

    public init(path: String, recursive: Bool) {
        self.path = path
        self.recursive = recursive
    }

    public func write(to writer: inout WireWriter) {
        writer.string(path)
        writer.bool(recursive)
    }

    public init(from reader: inout WireReader) throws(WireError) {
        path = try reader.string()
        recursive = try reader.bool()
    }
}

/// Something that happened to a watched path.
public struct FileEvent: WireMessage {
    public enum Kind: UInt8, Sendable, CaseIterable {
        case created = 1
        case modified = 2
        case removed = 3
        case renamed = 4
        case attributes = 5
        /// More happened than could be told; look again.
        case overflow = 6
    }

    public var kind: Kind
    /// The path it happened to (before the renaming, for `renamed`).
    public var path: String
    /// The new path of a `renamed`; else empty.
    public var destination: String
    public var isDirectory: Bool

    /// Bytes of `encoded`.
    public var encodedLength: Int { 10 + path.utf8.count + destination.utf8.count }

    public init(kind: Kind, path: String, destination: String = "", isDirectory: Bool = false) {
        self.kind = kind
        self.path = path
        self.destination = destination
        self.isDirectory = isDirectory
    }

    public func write(to writer: inout WireWriter) {
        writer.u8(kind.rawValue)
        writer.string(path)
        writer.string(destination)
        writer.bool(isDirectory)
    }

    public init(from reader: inout WireReader) throws(WireError) {
        let number = try reader.u8()
        guard let kind = Kind(rawValue: number) else { throw WireError("file event \(number) is unknown") }
        self.kind = kind
        path = try reader.string()
        destination = try reader.string()
        isDirectory = try reader.bool()
    }
}
