import CLinux
import Glibc

extension ControlGroup {
    /// A file for each version 1 tree: a process that writes `0` there puts itself in.
    ///
    /// For groups whose members multiply at once. The kernel waits for all other tasks in each of these trees.
    public func openVersionOneProcs() throws(SystemError) -> [Descriptor] {
        var files: [Descriptor] = []
        for tree in trees where !tree.isVersionTwo {
            files.append(try Descriptor.open("\(path(in: tree))/cgroup.procs", O_WRONLY))
        }
        return files
    }

    /// Removes the group together with the groups that what ran in it has made below it.
    public func removeAll() {
        if let unified = try? openUnified() {
            ControlGroup.removeChildren(of: "/proc/self/fd/\(unified.number)", depth: 0)
        }
        remove()
    }

    /// Deeper ones than this no honest program makes; the group then stays, and with it a line in the log of who removes it.
    private static let deepest = 16

    private static func removeChildren(of directory: String, depth: Int) {
        guard depth < deepest, let listing = opendir(directory) else { return }
        defer { closedir(listing) }
        while let entry = readdir(listing) {
            guard entry.pointee.d_type == UInt8(DT_DIR) else { continue }
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                // SAFETY: the kernel ends names with a zero within the array.
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            guard name != ".", name != ".." else { continue }
            removeChildren(of: "\(directory)/\(name)", depth: depth + 1)
            for _ in 0..<100 {
                // Busy for a moment after its last process has ended.
                if rmdir("\(directory)/\(name)") == 0 || errno != EBUSY { break }
                usleep(1000)
            }
        }
    }
}
