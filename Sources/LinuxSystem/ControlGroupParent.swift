import Glibc

/// The group in which one daemon makes all of its groups, at the same place in every tree.
///
/// It lies below the top of each tree, not below the daemon's own group: in version 2 a group with processes cannot hand
/// controllers down.
public struct ControlGroupParent: Sendable {
    /// Below the top of every tree, such as `martlet/1f2e3d4c`.
    public let name: String
    public let hierarchies: ControlGroupHierarchies

    private init(name: String, hierarchies: ControlGroupHierarchies) {
        self.name = name
        self.hierarchies = hierarchies
    }

    /// A name for what belongs to a directory: the same for the same one, and another one's for another (FNV-1a).
    public static func name(for directory: String) -> String {
        let hash = directory.utf8.reduce(UInt64(0xcbf2_9ce4_8422_2325)) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
        return String(hash, radix: 16)
    }

    /// Makes it where it is not there yet.
    ///
    /// - Parameter name: one daemon's own, always the same, so that a later daemon finds what this one leaves.
    /// - Throws: `SystemError` where the host lacks a controller (`ENOENT`, naming it) or does not let us (`EACCES`,
    ///   `EROFS`).
    public static func make(
        _ name: String, requiring needed: Set<ControlGroupHierarchies.Controller> = [.memory, .cpu, .pids]
    ) throws(SystemError) -> ControlGroupParent {
        let hierarchies = try ControlGroupHierarchies.onThisHost()
        for controller in ControlGroupHierarchies.Controller.allCases where needed.contains(controller) {
            guard hierarchies.controllers[controller] != nil else {
                throw SystemError("find a control group with", "controller \(controller.rawValue)", errno: ENOENT)
            }
        }
        let parent = ControlGroupParent(name: "martlet/\(name)", hierarchies: hierarchies)
        for tree in hierarchies.trees { try parent.make(in: tree) }
        return parent
    }

    func make(in tree: ControlGroupHierarchies.Tree) throws(SystemError) {
        var directory = tree.path
        var above = [directory]
        for part in name.split(separator: "/") {
            directory += "/\(part)"
            above.append(directory)
            guard mkdir(directory, 0o755) == 0 || errno == EEXIST else {
                throw SystemError("mkdir", directory, errno: errno)
            }
        }
        guard tree.isVersionTwo else { return }
        let wanted = ControlGroupHierarchies.Controller.allCases.filter { hierarchies.controllers[$0] == tree }
        for directory in above {
            for controller in wanted {
                try ControlGroup.write("+\(controller.rawValue)", to: "\(directory)/cgroup.subtree_control")
            }
        }
    }

    /// Every group in it, of this daemon and of those before it.
    public func groups() -> [ControlGroup] {
        var names: Set<String> = []
        for tree in hierarchies.trees {
            guard let listing = opendir("\(tree.path)/\(name)") else { continue }
            defer { closedir(listing) }
            while let entry = readdir(listing) {
                guard entry.pointee.d_type == UInt8(DT_DIR) else { continue }
                let text = withUnsafePointer(to: &entry.pointee.d_name) {
                    // SAFETY: the kernel ends names with a zero within the array.
                    $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
                }
                if text != ".", text != ".." { names.insert(text) }
            }
        }
        return names.sorted().map { ControlGroup($0, in: self) }
    }

    /// Ends what runs in groups of other names and removes them, and itself with the last one. Blocks the thread.
    public func endGroups(otherThan kept: Set<String>) {
        for group in groups() where !kept.contains(group.name) {
            group.kill()
            group.remove()
        }
        remove()
    }

    /// Removes it where nothing is left in it.
    public func remove() {
        for tree in hierarchies.trees { rmdir("\(tree.path)/\(name)") }
    }
}
