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
        // A job has a backend beside the device's for as long as it lasts; both lead to the same layers.
        for backend in nodes where backend.type == "block-backend" {
            guard let top = edges.first(where: { $0.parent == backend.id })?.child else { continue }
            if let names = layers(from: top) { return names }
        }
        return nil
    }

    private func layers(from top: Int) -> [String]? {
        let byID = Dictionary(nodes.map { ($0.id, $0) }, uniquingKeysWith: { first, _ in first })
        var names: [String] = []
        var current: Int? = top
        while let id = current, let node = byID[id], names.count < 1024 {
            if node.name.hasPrefix("base-") { return names.reversed() }
            let below = edges.filter { $0.parent == id }
            if node.name.hasPrefix("#") {
                // A filter that a job has put in: it has no name from us, and what it filters is its file.
                current = below.first { $0.name == "file" || $0.name == "backing" }?.child
            } else {
                names.append(node.name)
                current = below.first { $0.name == "backing" }?.child
            }
        }
        return nil
    }
}
