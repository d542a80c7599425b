/// A disk as QEMU's block layer is told of it: one JSON object for each file, each on the one it stands on.
///
/// Every layer is named and its backing is always said, so that what a file's header says of its backing never counts:
/// files are linked into other directories, where such a path would lead elsewhere.
enum BlockNode {
    /// The node of the machine's disk when it starts; captures put others on top.
    static let root = "root"

    /// What a disk stands on.
    enum Backing {
        /// A node that exists.
        case node(String)
        /// Files opened with it: a raw image, then qcow2 layers, the oldest first.
        case files([String])
        case nothing

        fileprivate var json: String {
            switch self {
            case .node(let name): jsonString(name)
            case .files(let paths): BlockNode.chain(paths) ?? "null"
            case .nothing: "null"
            }
        }
    }

    /// The layer a guest writes to.
    ///
    /// A guest's flush waits for nothing: memory and disk only ever survive together, and a capture that is to outlive
    /// the host is flushed as a whole.
    static func overlay(_ name: String, _ path: String, on backing: Backing) -> String {
        "{\"driver\":\"qcow2\",\"node-name\":\(jsonString(name)),\"cache\":{\"no-flush\":true},\"discard\":\"unmap\","
            + "\"file\":{\"driver\":\"file\",\"filename\":\(jsonString(path)),\"cache\":{\"no-flush\":true},"
            + "\"discard\":\"unmap\"},\"backing\":\(backing.json)}"
    }

    /// A layer that is only read.
    static func layer(_ name: String, _ path: String, on backing: String) -> String {
        "{\"driver\":\"qcow2\",\"node-name\":\(jsonString(name)),\"read-only\":true,"
            + "\"file\":{\"driver\":\"file\",\"filename\":\(jsonString(path))},\"backing\":\(backing)}"
    }

    /// A whole disk, only to be read: a raw image, then qcow2 layers, the oldest first.
    static func disk(_ paths: [String]) -> String { chain(paths) ?? "null" }

    /// The name of the base file at a position.
    static func base(_ index: Int) -> String { "base-\(index)" }

    private static func chain(_ paths: [String]) -> String? {
        var below: String?
        for (index, path) in paths.enumerated() {
            let file = "{\"driver\":\"file\",\"filename\":\(jsonString(path))}"
            let name = jsonString(base(index))
            if let lower = below {
                below =
                    "{\"driver\":\"qcow2\",\"node-name\":\(name),\"read-only\":true,\"file\":\(file),\"backing\":\(lower)}"
            } else {
                below = "{\"driver\":\"raw\",\"node-name\":\(name),\"read-only\":true,\"file\":\(file)}"
            }
        }
        return below
    }
}
