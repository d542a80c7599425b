import CLinux
import Glibc
import LinuxSystem
import SandboxModel

/// What lies in the folder `files` beside a template's definition, and is copied into its root disk.
package struct TemplateFiles: Sendable, Hashable, Codable {
    /// One file, directory or symbolic link.
    package struct Entry: Sendable, Hashable, Codable {
        package enum Kind: Sendable, Hashable, Codable {
            case directory
            case file(isExecutable: Bool)
            case link(target: String)
        }

        /// In the root disk, with a slash in front.
        package var path: String
        package var kind: Kind
    }

    private static let maxEntries = 2000
    private static let maxBytes: Int64 = 64 << 20
    private static let maxDepth = 32

    /// The folder.
    package var folder: String
    /// Sorted by path, so that a directory comes before what is in it.
    package var entries: [Entry]
    /// The address of names, kinds and contents.
    package var digest: String

    /// Files whose stamps tell that the folder is what it was, with the folder and its directories.
    var sources: [String] { [folder] + entries.map { folder + $0.path } }

    /// Looks at a folder; nil when there is none.
    ///
    /// - Throws: `failed_precondition` naming what cannot be copied, or which limit is passed.
    static func read(_ folder: String) throws -> TemplateFiles? {
        guard let stamp = FileStamp(path: folder) else { return nil }
        guard stamp.isDirectory else { throw problem(folder, "must be a directory") }
        var found = TemplateFiles(folder: folder, entries: [], digest: "")
        var bytes: Int64 = 0
        try found.collect("", depth: 0, &bytes)
        found.entries.sort { $0.path < $1.path }
        var texts = ["template-files"]
        for entry in found.entries {
            texts.append(entry.path)
            switch entry.kind {
            case .directory: texts.append("directory")
            case .link(let target): texts += ["link", target]
            case .file(let isExecutable):
                texts += [isExecutable ? "program" : "file", try Digest.hex(ofFile: folder + entry.path)]
            }
        }
        found.digest = Digest.hex(of: texts)
        return found
    }

    private mutating func collect(_ path: String, depth: Int, _ bytes: inout Int64) throws {
        guard depth <= TemplateFiles.maxDepth else {
            throw TemplateFiles.problem(folder + path, "lies deeper than \(TemplateFiles.maxDepth) directories")
        }
        for name in StoreFiles.list(folder + path) {
            let child = path + "/" + name
            entries.append(Entry(path: child, kind: try TemplateFiles.kind(of: folder + child, &bytes)))
            guard entries.count <= TemplateFiles.maxEntries else {
                throw TemplateFiles.problem(folder, "has more than \(TemplateFiles.maxEntries) entries")
            }
            if entries.last?.kind == .directory { try collect(child, depth: depth + 1, &bytes) }
        }
    }

    private static func kind(of path: String, _ bytes: inout Int64) throws -> Entry.Kind {
        var info = stat()
        guard lstat(path, &info) == 0 else { throw SystemError("stat", path, errno: errno) }
        switch info.st_mode & S_IFMT {
        case S_IFDIR: return .directory
        case S_IFREG:
            bytes += Int64(info.st_size)
            guard bytes <= maxBytes else { throw problem(path, "makes it more than \(maxBytes >> 20) MiB in all") }
            return .file(isExecutable: info.st_mode & 0o100 != 0)
        case S_IFLNK:
            var target = [CChar](repeating: 0, count: 4097)
            let length = readlink(path, &target, 4096)
            guard length >= 0 else { throw SystemError("readlink", path, errno: errno) }
            return .link(target: String(decoding: target.prefix(length).map { UInt8(bitPattern: $0) }, as: UTF8.self))
        default: throw problem(path, "is neither a file, a directory nor a symbolic link")
        }
    }

    private static func problem(_ path: String, _ why: String) -> MartletError {
        MartletError(.failedPrecondition, "template files are not usable: \(path): \(why)")
    }
}

/// Who a file of a template belongs to, and its mode, where that is not root's and by whether it is executable.
package struct TemplateFileRule: Sendable, Hashable, Codable {
    /// In the root disk, with a slash in front; an entry of the template's files.
    package var path: String
    /// A user of the root disk; nil is root.
    package var owner: String?
    /// A group of the root disk; nil is the owner's own.
    package var group: String?
    package var mode: UInt32?

    package init(path: String, owner: String? = nil, group: String? = nil, mode: UInt32? = nil) {
        self.path = path
        self.owner = owner
        self.group = group
        self.mode = mode
    }
}
