import CLinux
import Glibc
import LinuxSystem

/// The directories one inotify descriptor watches, and what they are called now.
final class WatchedTree {
    private static let mask =
        UInt32(IN_CREATE) | UInt32(IN_MODIFY) | UInt32(IN_ATTRIB) | UInt32(IN_DELETE) | UInt32(IN_MOVED_FROM)
        | UInt32(IN_MOVED_TO) | UInt32(IN_DELETE_SELF) | UInt32(IN_ONLYDIR) | UInt32(IN_DONT_FOLLOW)
    /// Deepest nesting watched.
    private static let deepest = 128

    private let inotify: Int32
    let isRecursive: Bool
    private var paths: [Int32: String] = [:]
    private var root: Int32?
    /// Entries told of from a look, which the kernel may tell of once more.
    private var reported: Set<String> = []
    /// Whether some directory could not be watched.
    private(set) var isIncomplete = false

    init(inotify: Int32, isRecursive: Bool) {
        self.inotify = inotify
        self.isRecursive = isRecursive
    }

    func path(of watch: Int32) -> String? { paths[watch] }
    func isRoot(_ watch: Int32) -> Bool { watch == root }
    func forget(_ watch: Int32) { paths[watch] = nil }

    /// Whether this entry was already told of; asked once for each.
    func takeReported(_ path: String) -> Bool { reported.remove(path) != nil }

    /// Watches a directory, and all below it if the tree is recursive.
    ///
    /// - Parameter found: called for everything that is already inside.
    /// - Returns: 0 or the error number for the directory itself.
    func add(_ path: String, found: ((path: String, isDirectory: Bool)) -> Void) -> Int32 {
        isIncomplete = false
        if reported.count > 4096 { reported = [] }
        // The root may be reached through a link; nothing below it is.
        let mask = root == nil ? WatchedTree.mask & ~UInt32(IN_DONT_FOLLOW) : WatchedTree.mask
        let watch = clinux_inotify_add(inotify, path, mask)
        guard watch >= 0 else { return -watch }
        let isFirst = root == nil
        if isFirst { root = watch }
        paths[watch] = path
        if isRecursive { addBelow(path, depth: 1, reports: !isFirst, found) }
        return 0
    }

    private func addBelow(
        _ path: String, depth: Int, reports: Bool, _ found: ((path: String, isDirectory: Bool)) -> Void
    ) {
        guard depth < WatchedTree.deepest, let reader = DirectoryReader(path: path) else { return }
        while let name = reader.next() {
            let inner = FilePath.join(path, name)
            let isDirectory = reader.entryKindIsKnown ? reader.entryIsDirectory : isRealDirectory(inner)
            if reports {
                found((inner, isDirectory))
                reported.insert(inner)
            }
            guard isDirectory else { continue }
            let watch = clinux_inotify_add(inotify, inner, WatchedTree.mask)
            if watch >= 0 {
                paths[watch] = inner
                addBelow(inner, depth: depth + 1, reports: reports, found)
            } else if watch == -ENOSPC || watch == -ENOMEM {
                isIncomplete = true
            }
        }
    }

    private func isRealDirectory(_ path: String) -> Bool {
        var info = stat()
        return lstat(path, &info) == 0 && info.st_mode & S_IFMT == S_IFDIR
    }

    /// A watched directory has a new name; so has all below it.
    func rename(_ old: String, to new: String) {
        for (watch, path) in paths where path == old || path.hasPrefix(old + "/") {
            paths[watch] = new + path.dropFirst(old.count)
        }
    }

    /// A watched directory left the tree.
    func remove(_ path: String) {
        for (watch, inner) in paths where inner == path || inner.hasPrefix(path + "/") {
            _ = clinux_inotify_remove(inotify, watch)
            paths[watch] = nil
        }
    }
}
