/// Which block nodes a QEMU has and which stands on which (`x-debug-query-block-graph`).
struct BlockGraph: Decodable {
    struct Node: Decodable {
        var id: Int
        var name: String
        var type: String
    }

    struct Edge: Decodable {
        var parent: Int
        var child: Int
        var name: String
    }

    var nodes: [Node]
    var edges: [Edge]

    /// Names of the nodes the guest's disk consists of, the oldest first, without those of the base.
    ///
    /// - Returns: nil for a graph that has no such disk.
    func layers() -> [String]? {
        let byID = Dictionary(nodes.map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
        // The disk is what the device's backend, which has the one edge called "root", stands on.
        let backends = Set(nodes.filter { $0.type == "block-backend" }.map(\.id))
        guard let top = edges.first(where: { backends.contains($0.parent) })?.child else { return nil }
        var names: [String] = []
        var current: Int? = top
        while let id = current, let node = byID[id], names.count < 1024 {
            if node.name.hasPrefix("base-") { return names.reversed() }
            names.append(node.name)
            current = edges.first { $0.parent == id && $0.name == "backing" }?.child
        }
        return nil
    }
}
