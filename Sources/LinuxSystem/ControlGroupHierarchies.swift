/// Where this host's control groups are: one tree of version 2, trees of version 1, or both side by side, as on hosts
/// whose version 2 tree is there but has no controllers.
public struct ControlGroupHierarchies: Sendable, Equatable {
    /// What can be limited.
    public enum Controller: String, Sendable, CaseIterable {
        case memory, cpu, pids
        /// `blkio` in version 1.
        case io
        /// Version 1 only; in version 2 every group can be frozen.
        case freezer

        var versionOneName: String { self == .io ? "blkio" : rawValue }
    }

    /// A mounted tree.
    public struct Tree: Sendable, Equatable {
        public var path: String
        public var isVersionTwo: Bool

        public init(path: String, isVersionTwo: Bool) {
            self.path = path
            self.isVersionTwo = isVersionTwo
        }
    }

    /// Which tree has which controller; one that is missing is not there.
    public var controllers: [Controller: Tree]
    /// The tree of version 2, with controllers or without.
    public var unified: String?

    /// Every tree a process has to be put in, each once.
    public var trees: [Tree] {
        var result: [Tree] = []
        for controller in Controller.allCases {
            if let tree = controllers[controller], !result.contains(tree) { result.append(tree) }
        }
        if let unified {
            let tree = Tree(path: unified, isVersionTwo: true)
            if !result.contains(tree) { result.append(tree) }
        }
        return result
    }

    public init(controllers: [Controller: Tree], unified: String?) {
        self.controllers = controllers
        self.unified = unified
    }

    /// Reads what is mounted here.
    ///
    /// - Throws: `SystemError` when the kernel does not tell.
    public static func onThisHost() throws(SystemError) -> ControlGroupHierarchies {
        let mounts = try AtomicFile.read("/proc/self/mountinfo", limit: 4 << 20)
        return read(mounts: String(decoding: mounts, as: UTF8.self)) { path in
            let bytes = (try? AtomicFile.read("\(path)/cgroup.controllers")) ?? []
            return String(decoding: bytes, as: UTF8.self)
        }
    }

    /// The same from the text of a `mountinfo`.
    ///
    /// - Parameter offered: the `cgroup.controllers` of a version 2 tree mounted at a path.
    static func read(mounts: String, offered: (String) -> String) -> ControlGroupHierarchies {
        var controllers: [Controller: Tree] = [:]
        var unified: String?
        for line in mounts.split(separator: "\n") {
            // proc(5): ID PARENT DEVICE ROOT PATH OPTIONS … - TYPE SOURCE SUPER-OPTIONS
            let halves = line.split(separator: " - ", maxSplits: 1)
            guard halves.count == 2 else { continue }
            let (place, kind) = (halves[0].split(separator: " "), halves[1].split(separator: " "))
            guard place.count > 4, kind.count > 2 else { continue }
            let path = String(place[4])
            switch kind[0] {
            case "cgroup2":
                unified = path
            case "cgroup":
                let names = Set(kind[2].split(separator: ","))
                for controller in Controller.allCases where names.contains(Substring(controller.versionOneName)) {
                    controllers[controller] = Tree(path: path, isVersionTwo: false)
                }
            default: continue
            }
        }
        if let unified {
            let names = Set(offered(unified).split(whereSeparator: { $0 == " " || $0 == "\n" }))
            for controller in Controller.allCases where names.contains(Substring(controller.rawValue)) {
                controllers[controller] = controllers[controller] ?? Tree(path: unified, isVersionTwo: true)
            }
        }
        return ControlGroupHierarchies(controllers: controllers, unified: unified)
    }
}
